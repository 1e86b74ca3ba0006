//go:build unix

package ranch_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

func init() { childProcesses["descriptors"] = serveWithFewDescriptors }

// spareDescriptors is how many descriptors the child process can open.
const spareDescriptors = 30

// childReport is a line of the child's output.
type childReport struct {
	Event    string        // the kind of an event, or "info" in reply to a line of input
	Addr     string        // with "listener started"
	Info     *counts       // with "info"
	Duration time.Duration // of an episode
}

type counts struct {
	Errors uint64 // of accept
	Active int
	Served uint64
	CPU    time.Duration
}

// serveWithFewDescriptors runs in the child process: a listener that runs out of descriptors. It
// reports its events, and its counters for each line of input.
func serveWithFewDescriptors() {
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	report := func(r childReport) {
		mu.Lock()
		defer mu.Unlock()
		out.Encode(r)
	}
	l, err := ranch.StartListener("few", transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", MaxConnections: ranch.Unlimited, Logger: discardLogger, PostListen: func(net.Listener) error { return limitDescriptors() },
		Observer: func(e ranch.Event) {
			switch e.Kind {
			case ranch.ListenerStarted:
				report(childReport{Event: string(e.Kind), Addr: e.Addr.String()})
			case ranch.AcceptFailed, ranch.AcceptRecovered, ranch.SocketReopened, ranch.AcceptorPanicked:
				report(childReport{Event: string(e.Kind), Duration: e.Duration})
			}
		},
	}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		conn.Write([]byte{greeting})
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var ru syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
		i := l.Info()
		report(childReport{Event: "info", Info: &counts{i.AcceptErrors, i.ActiveConnections, i.Served, time.Duration(ru.Utime.Nano() + ru.Stime.Nano())}})
	}
	if err := ranch.StopListener("few"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// limitDescriptors lowers the limit to spareDescriptors more than are open.
func limitDescriptors() error {
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = uint64(len(open) - 1 + spareDescriptors)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// child is the child process.
type child struct {
	t     *testing.T
	in    io.WriteCloser
	out   *bufio.Scanner
	addr  string
	count map[string]int // events so far
}

func startChild(t *testing.T) *child {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=descriptors")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, in: in, out: bufio.NewScanner(out), count: map[string]int{}}
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("child: got %v, want nil", err)
		}
	})
	c.addr = c.until(string(ranch.ListenerStarted)).Addr
	return c
}

// until reads reports up to the next one of that event.
func (c *child) until(event string) childReport {
	c.t.Helper()
	for c.out.Scan() {
		var r childReport
		if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
			c.t.Fatalf("got %q: %v, want a report", c.out.Bytes(), err)
		}
		c.count[r.Event]++
		if r.Event == event {
			return r
		}
	}
	c.t.Fatalf("the child ended before %q: %v", event, c.out.Err())
	panic("unreachable")
}

func (c *child) info() counts {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		c.t.Fatal(err)
	}
	return *c.until("info").Info
}

// A process that runs out of descriptors warns once, does not spin, goes on serving, and in the end
// serves every client.
func TestOutOfDescriptors(t *testing.T) {
	const clients = 5 * spareDescriptors
	c := startChild(t)
	failed, recovered := string(ranch.AcceptFailed), string(ranch.AcceptRecovered)
	for episode := 1; episode <= 2; episode++ {
		all := make([]net.Conn, clients)
		for i := range all {
			nc, err := net.Dial("tcp", c.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(testTimeout))
			all[i] = nc
		}
		c.until(failed)
		begin, first := time.Now(), c.info()
		last := first
		for last.Errors < first.Errors+30 { // three rounds of ten acceptors
			<-time.After(10 * time.Millisecond)
			last = c.info()
		}
		lasted := time.Since(begin)
		if most := uint64(10 * (lasted/(100*time.Millisecond) + 1)); last.Errors-first.Errors > most {
			t.Errorf("got %d accept errors within %v, want at most %d", last.Errors-first.Errors, lasted, most)
		}
		if cpu := last.CPU - first.CPU; cpu > lasted/2 {
			t.Errorf("got %v of CPU time within %v, want at most half", cpu, lasted)
		}
		if last.Active < spareDescriptors || last.Active > spareDescriptors+3 { // descriptors below the limit may have been free
			t.Errorf("got %d active connections, want %d", last.Active, spareDescriptors)
		}
		var wg sync.WaitGroup
		for _, nc := range all { // each that ends lets another one in
			wg.Go(func() {
				_, err := io.ReadFull(nc, make([]byte, 1))
				if err == nil {
					_, err = nc.Write([]byte{1})
				}
				if err == nil {
					_, err = io.ReadAll(nc)
				}
				if err != nil {
					t.Errorf("waiting client: got %v, want nil", err)
				}
			})
		}
		wg.Wait()
		if r := c.until(recovered); r.Duration < lasted-200*time.Millisecond {
			t.Errorf("got an episode of %v, want at least %v", r.Duration, lasted)
		}
		if i := c.info(); i.Active != 0 || i.Served != uint64(episode*clients) {
			t.Errorf("after episode %d: got %+v, want 0 active and %d served", episode, i, episode*clients)
		}
		if c.count[failed] != episode || c.count[recovered] != episode {
			t.Errorf("after %d episodes: got events %v, want one of each for each episode", episode, c.count)
		}
	}
	if len(c.count) != 4 { // the start, these two and "info"
		t.Errorf("got events %v, want no others", c.count)
	}
}
