package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// flooder is an anonymous client that sends as fast as it can, and connects again when the server
// closes its connection.
type flooder struct {
	name  string
	count int
	// first is sent once per connection, and repeat then until the connection ends. i is different
	// for each call, also of other flooders.
	first, repeat func(i int64) string
	repeats       int   // per connection, which the client closes then; 0 is until the server closes it
	enough        int64 // bytes that it sends alone, if the time suffices; 0 is as many as it can
}

// largeMessage fits into the history of a topic.
var largeMessage = `"` + strings.Repeat("x", 60_000) + `"`

// topicFloods are the clients of TestTopicFlood.
var topicFloods = []flooder{
	{"small messages to new topics", 2, nil, func(i int64) string {
		var b strings.Builder
		for n := range 200 {
			b.WriteString(publishFrame(fmt.Sprint("small.", i, ".", n), "1") + "\x00")
		}
		return b.String()
	}, 0, 0},
	{"large messages to new topics", 2, nil, func(i int64) string {
		return publishFrame(fmt.Sprint("large.", i), largeMessage) + "\x00"
	}, 0, 450e6},
	{"sessions with 1,000 subscriptions", 1, nil, func(i int64) string {
		return subscribeMany(int(i))
	}, 1, 0},
	{"patterns", 1, func(i int64) string { return strings.Join(subscribes("a*b.c>d.%d", 900), "\x00") + "\x00" }, func(i int64) string {
		var b strings.Builder
		for n := range 100 {
			name := fmt.Sprintf("%d.*.a*b.%d.>", i, n)
			fmt.Fprintf(&b, `{"action":"subscribe","data":"%s"}`+"\x00"+`{"action":"unsubscribe","data":"%s"}`+"\x00", name, name)
		}
		return b.String()
	}, 0, 0},
	{"nested JSON", 1, nil, func(int64) string { return nested(100, 1200) }, 0, 0},
	{"deeply nested JSON", 1, nil, func(int64) string { return nested(100_000, 1) }, 0, 0},
	{"NUL", 1, nil, func(int64) string { return strings.Repeat("\x00", 10_000) }, 0, 0},
	{"presence", 1, nil, func(int64) string { return strings.Repeat(`{"action":"presence","data":"flood"}`+"\x00", 500) }, 0, 0},
}

// The bounds of the floods.
const (
	// floodAnswer is how long a client or an operator may have to wait for an answer.
	floodAnswer = 2 * time.Second
	// topicFloodKB is the resident memory of ranchd under TestTopicFlood: 256 MiB of histories, as
	// much garbage as GOGC allows, and 128 MiB for all else.
	topicFloodKB = (256*(100+floodGOGC)/100 + 128) << 10
	// floodGOGC is less than the default, so that fewer messages are needed to tell whether
	// histories are limited.
	floodGOGC = 25
	// shellFloodKB is that under TestShellFlood, whose 16 addresses may leave sessions of 4 MiB
	// each.
	shellFloodKB = 256 << 10
)

// floodTime is how long each kind of flooder runs alone, and a quarter of the time for which all
// run together. The environment variable FLOOD sets it: in a minute the flood has millions of
// topics.
func floodTime() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("FLOOD")); err == nil {
		return d
	}
	return 250 * time.Millisecond
}

// TestTopicFlood checks that clients that flood the topic server of the built program from many
// addresses do not keep an honest client from subscribing and publishing, and that the memory of
// the program is bounded.
func TestTopicFlood(t *testing.T) {
	p := &process{cmd: exec.Command(buildProgram(t), "--listen", "t=topics+tcp://127.0.0.1:0", "--admin", "none", "--log-format", "json", "--quiet")}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), fmt.Sprint("GOGC=", floodGOGC)), &p.log
	p.start(t)
	addr := p.log.addr(t, "t")
	loyal := newTopicClient(t, addr) // stays connected during the flood
	loyal.subscribe("loyal")
	h := honest{p: p, act: func(i int) {
		topic, c := fmt.Sprint("honest.", i), newTopicClient(t, addr)
		c.subscribe(topic)
		c.publish(topic, c)
		c.publish("loyal", loyal)
		c.nc.Close()
	}}
	for i, k := range topicFloods {
		start, limit := time.Now(), floodTime()
		if k.enough > 0 {
			limit = max(limit, 2500*time.Millisecond)
		}
		f := startFlood(t, addr, topicFloods[i:i+1])
		for time.Since(start) < limit && (k.enough == 0 || f.sent[0].Load() < k.enough) {
			h.round(t)
		}
		f.finish()
	}
	f, start := startFlood(t, addr, topicFloods), time.Now()
	for time.Since(start) < 4*floodTime() {
		h.round(t)
	}
	f.finish()
	h.round(t)
	h.check(t, topicFloodKB)
}

// honest is a client of a server under a flood.
type honest struct {
	p       *process
	act     func(i int) // fails the test if the client is not served
	rounds  int
	slowest time.Duration
	largest int // resident memory of p, in kB
}

// round acts once, and then leaves the processor to the flood for a moment.
func (h *honest) round(t *testing.T) {
	h.rounds++
	start := time.Now()
	h.act(h.rounds)
	h.slowest, h.largest = max(h.slowest, time.Since(start)), max(h.largest, residentKB(t, h.p))
	time.Sleep(10 * time.Millisecond)
}

func (h *honest) check(t *testing.T, maxKB int) {
	t.Helper()
	t.Logf("honest client: %d rounds, the slowest in %v; the program: %d kB", h.rounds, h.slowest, h.largest)
	if h.slowest > floodAnswer {
		t.Errorf("honest client: got its answers after %v, want at most %v", h.slowest, floodAnswer)
	}
	if h.largest > maxKB {
		t.Errorf("resident memory: got %d kB, want at most %d kB", h.largest, maxKB)
	}
}

// runningFlood is flooders that run.
type runningFlood struct {
	t     *testing.T
	kinds []flooder
	sent  []atomic.Int64 // bytes that the server has taken, by kind
	conns []atomic.Int64 // connections, by kind
	stop  func()         // stops them, and waits for their end
}

// nextFlood numbers what flooders send.
var nextFlood atomic.Int64

func startFlood(t *testing.T, addr string, kinds []flooder) *runningFlood {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &runningFlood{t: t, kinds: kinds, sent: make([]atomic.Int64, len(kinds)), conns: make([]atomic.Int64, len(kinds))}
	var wg sync.WaitGroup
	f.stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(f.stop)
	for kind, k := range kinds {
		for range k.count {
			wg.Go(func() {
				for ctx.Err() == nil {
					f.connect(ctx, addr, kind)
				}
			})
		}
	}
	return f
}

// connect runs one connection of a flooder, from one of 16 addresses.
func (f *runningFlood) connect(ctx context.Context, addr string, kind int) {
	k := f.kinds[kind]
	n := f.conns[kind].Add(1)
	nc, err := dialFrom(ctx, net.IPv4(127, 1, byte(kind), byte(1+n%16)), addr)
	if err != nil {
		if ctx.Err() == nil {
			f.t.Errorf("%s: got %v, want a connection", k.name, err)
			<-ctx.Done()
		}
		return
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, nc)
		nc.SetWriteDeadline(time.Unix(1, 0)) // the server has refused the rest
	}()
	defer func() { <-read }()
	defer nc.SetReadDeadline(time.Unix(1, 0))
	if k.first != nil {
		io.WriteString(nc, k.first(nextFlood.Add(1)))
	}
	for i := 0; ctx.Err() == nil && (k.repeats == 0 || i < k.repeats); i++ {
		n, err := io.WriteString(nc, k.repeat(nextFlood.Add(1)))
		f.sent[kind].Add(int64(n))
		if err != nil {
			return
		}
	}
	nc.CloseWrite()
	select { // until the server has taken everything
	case <-read:
	case <-ctx.Done():
	}
}

// finish stops the flooders, and reports those that neither sent anything nor connected twice: such
// a flood tests nothing.
func (f *runningFlood) finish() {
	f.t.Helper()
	f.stop()
	for i, k := range f.kinds {
		if f.sent[i].Load() == 0 && f.conns[i].Load() <= int64(k.count) {
			f.t.Errorf("%s: got %d connections that sent nothing, want a flood", k.name, f.conns[i].Load())
		}
	}
	f.t.Log(f)
}

func (f *runningFlood) String() string {
	var parts []string
	for i, k := range f.kinds {
		parts = append(parts, fmt.Sprintf("%s: %d connections, %d MB", k.name, f.conns[i].Load(), f.sent[i].Load()/1e6))
	}
	return strings.Join(parts, "; ")
}

// dialFrom connects from an address of this host. All of 127.0.0.0/8 is local on Linux.
func dialFrom(ctx context.Context, from net.IP, addr string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: timeout}
	for {
		nc, err := d.DialContext(ctx, "tcp", addr)
		// Each connection that was closed keeps its port for a minute. The kernel may choose one of
		// them.
		if errors.Is(err, syscall.EADDRINUSE) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		return nc.(*net.TCPConn), nil
	}
}

// topicClient is a client of the topic server, each of whose waits is bounded.
type topicClient struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func newTopicClient(t *testing.T, addr string) *topicClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	nc, err := dialFrom(ctx, net.IPv4(127, 0, 0, 1), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := &topicClient{t, nc, bufio.NewReader(nc)}
	c.wantFrames(`"token":`)
	return c
}

// wantFrames reads frames, each of which must contain one of the texts, until all have been read.
func (c *topicClient) wantFrames(texts ...string) {
	c.t.Helper()
	c.nc.SetDeadline(time.Now().Add(timeout))
	for len(texts) > 0 {
		frame, err := c.r.ReadString('\x01')
		i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(frame, text) })
		switch {
		case i >= 0:
			texts = slices.Delete(texts, i, i+1)
		case err != nil || frame != "PING\x01":
			c.t.Fatalf("got frame %q and error %v, want %q", frame, err, texts)
		}
	}
}

func (c *topicClient) subscribe(topic string) {
	c.t.Helper()
	io.WriteString(c.nc, `{"action":"subscribe","data":"`+topic+`"}`+"\x00")
	c.wantFrames("ACK")
}

// publish publishes to a topic with one subscriber.
func (c *topicClient) publish(topic string, subscriber *topicClient) {
	c.t.Helper()
	io.WriteString(c.nc, publishFrame(topic, "1")+"\x00")
	message := `"topic":"` + topic + `"`
	if c == subscriber {
		c.wantFrames(`{"published":1`, message)
		return
	}
	c.wantFrames(`{"published":1`)
	subscriber.wantFrames(message)
}
