package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// upgradeLoad is the load of one client process: connections that stay and send a request now and
// then, sessions of the shell, and short connections with one request.
type upgradeLoad struct {
	Echo, Shell  string // addresses
	Connections  int
	Sessions     int
	NewPerSecond int
	Interval     time.Duration // between two requests of a connection
	Time         time.Duration
	Net          int // the client's addresses are 127.1.Net.1 and following
}

// upgradeCount is what a client has counted.
type upgradeCount struct {
	Connects, Refused       int64 // attempts to connect, and those that failed
	Short, ShortUnanswered  int64 // short connections, and those without an answer
	Requests, Unanswered    int64 // requests on connections that stay, and those not answered even after a reconnect
	Reconnects, Repeated    int64 // connections that the server has ended, and requests that were repeated on the next one
	SessionSteps, LostSteps int64 // changes of sessions that were answered, and those that were gone later
	LostSessions            int64
	Errors                  []string // examples
}

func (c *upgradeCount) add(o upgradeCount) {
	c.Connects += o.Connects
	c.Refused += o.Refused
	c.Short += o.Short
	c.ShortUnanswered += o.ShortUnanswered
	c.Requests += o.Requests
	c.Unanswered += o.Unanswered
	c.Reconnects += o.Reconnects
	c.Repeated += o.Repeated
	c.SessionSteps += o.SessionSteps
	c.LostSteps += o.LostSteps
	c.LostSessions += o.LostSessions
	c.Errors = append(c.Errors, o.Errors...)
}

func (c *upgradeCount) failures() int64 {
	return c.Refused + c.ShortUnanswered + c.Unanswered + c.LostSteps + c.LostSessions
}

// loadClient runs an upgradeLoad.
type loadClient struct {
	upgradeLoad
	dials atomic.Int64

	mu    sync.Mutex
	count upgradeCount
}

func (c *loadClient) record(change func(*upgradeCount)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.count)
}

func (c *loadClient) fault(err error, change func(*upgradeCount)) {
	c.record(func(n *upgradeCount) {
		change(n)
		if len(n.Errors) < 10 {
			n.Errors = append(n.Errors, err.Error())
		}
	})
}

// run returns what was counted when all connections have ended.
func (c *loadClient) run() upgradeCount {
	ctx, cancel := context.WithTimeout(context.Background(), c.Time)
	defer cancel()
	var wg sync.WaitGroup
	for i := range c.Connections {
		wg.Go(func() { c.stay(ctx, i) })
	}
	for i := range c.Sessions {
		wg.Go(func() { c.session(ctx, i) })
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for start, begun := time.Now(), 0; ctx.Err() == nil; <-tick.C {
		for due := int(time.Since(start).Seconds() * float64(c.NewPerSecond)); begun < due; begun++ { // also those of ticks that were missed
			wg.Go(c.short)
		}
	}
	wg.Wait()
	return c.count
}

// dial connects from one of 16 addresses: each has ports of its own, of which those of ended
// connections are in use for a minute.
func (c *loadClient) dial(addr string) (net.Conn, error) {
	n := c.dials.Add(1)
	d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(c.Net), byte(1+n%16))},
		Control: func(_, _ string, rc syscall.RawConn) error { // choose the port when the peer is known
			return rc.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, 24, 1) })
		}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		c.fault(fmt.Errorf("connect: %w", err), func(n *upgradeCount) { n.Connects++; n.Refused++ })
		return nil, err
	}
	c.record(func(n *upgradeCount) { n.Connects++ })
	nc.SetDeadline(time.Now().Add(c.Time + 2*timeout))
	return nc, nil
}

// exchange sends a line to echo and receives it.
func exchangeLine(nc net.Conn, line string) error {
	if _, err := io.WriteString(nc, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(nc, got); err != nil {
		return err
	}
	if string(got) != line {
		return fmt.Errorf("got %q, want %q", got, line)
	}
	return nil
}

// short is a connection with one request.
func (c *loadClient) short() {
	nc, err := c.dial(c.Echo)
	if err != nil {
		return
	}
	defer nc.Close()
	if err := exchangeLine(nc, "short\n"); err != nil {
		c.fault(fmt.Errorf("short connection: %w", err), func(n *upgradeCount) { n.Short++; n.ShortUnanswered++ })
		return
	}
	c.record(func(n *upgradeCount) { n.Short++ })
}

// pause waits until the next request; i spreads the connections over the interval. It reports false
// at the end of the load.
func (c *loadClient) pause(ctx context.Context, i, step int) bool {
	d := c.Interval
	if step == 0 {
		d = time.Duration(i%1000) * c.Interval / 1000
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stay is a connection that sends requests. When the server ends it, the request that has no answer
// is repeated on another one.
func (c *loadClient) stay(ctx context.Context, i int) {
	nc, err := c.dial(c.Echo)
	if err != nil {
		return
	}
	defer func() { nc.Close() }()
	for step := 0; c.pause(ctx, i, step); step++ {
		line := fmt.Sprintf("%d %d\n", i, step)
		err := exchangeLine(nc, line)
		for tries := 0; err != nil && tries < 5; tries++ {
			nc.Close()
			c.record(func(n *upgradeCount) { n.Reconnects++; n.Repeated++ })
			next, derr := c.dial(c.Echo)
			if derr != nil {
				continue
			}
			nc = next
			err = exchangeLine(nc, line)
		}
		if err != nil {
			c.fault(fmt.Errorf("request: %w", err), func(n *upgradeCount) { n.Requests++; n.Unanswered++ })
			return
		}
		c.record(func(n *upgradeCount) { n.Requests++ })
	}
}

var errLostSession = errors.New("the session is unknown")

// shellConn is a connection to the shell.
type shellConn struct {
	net.Conn
	r  *bufio.Reader
	id string
}

func (s *shellConn) ask(request string) (string, error) {
	if _, err := io.WriteString(s, request+"\n"); err != nil {
		return "", err
	}
	line, err := s.r.ReadString('\n')
	if line == "The server is stopping.\n" {
		return "", io.EOF
	}
	return strings.TrimSuffix(line, "\n"), err
}

// open connects to the shell and resumes a session, if there is one.
func (c *loadClient) open(id string) (*shellConn, error) {
	nc, err := c.dial(c.Shell)
	if err != nil {
		return nil, err
	}
	s := &shellConn{Conn: nc, r: bufio.NewReader(nc), id: id}
	greeting, err := s.r.ReadString('\n')
	if err != nil {
		nc.Close()
		return nil, err
	}
	if id == "" {
		s.id = strings.TrimSpace(strings.TrimPrefix(greeting, "Client identification "))
		return s, nil
	}
	answer, err := s.ask("reconnect:" + id)
	if err == nil && strings.HasPrefix(answer, "error") {
		err = fmt.Errorf("%w: %s", errLostSession, answer)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return s, nil
}

// session counts in a session of the shell. After each reconnect the last number that was answered
// must be there.
func (c *loadClient) session(ctx context.Context, i int) {
	s, err := c.open("")
	if err != nil {
		c.fault(fmt.Errorf("session: %w", err), func(n *upgradeCount) { n.LostSessions++ })
		return
	}
	defer func() { s.Close() }()
	answered := 0
	for step := 1; c.pause(ctx, i, step-1); step++ {
		got, err := s.ask(fmt.Sprintf("set n %d\nget n", step))
		for tries := 0; err != nil && tries < 5; tries++ {
			s.Close()
			c.record(func(n *upgradeCount) { n.Reconnects++ })
			next, oerr := c.open(s.id)
			if errors.Is(oerr, errLostSession) {
				c.fault(oerr, func(n *upgradeCount) { n.LostSessions++ })
				return
			}
			if oerr != nil {
				continue
			}
			s = next
			got, err = s.ask("get n")
			var n int
			if fmt.Sscan(got, &n); err == nil && n < answered {
				c.fault(fmt.Errorf("session: got %q, want at least %d", got, answered), func(n *upgradeCount) { n.LostSteps++ })
			}
			if err == nil {
				got, err = s.ask(fmt.Sprintf("set n %d\nget n", step))
			}
		}
		if err != nil || got != fmt.Sprint(step) {
			c.fault(fmt.Errorf("session: got %q and error %v, want %d", got, err, step), func(n *upgradeCount) { n.LostSteps++ })
			return
		}
		answered = step
		c.record(func(n *upgradeCount) { n.SessionSteps++ })
	}
}

// runLoadClient is a client process: it reads its load from r and writes its count to w.
func runLoadClient(r io.Reader, w io.Writer) error {
	c := &loadClient{}
	if err := json.NewDecoder(r).Decode(&c.upgradeLoad); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(c.run())
}
