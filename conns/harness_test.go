package conns_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// harness is a supervisor under test, with its gate and a record of the calls of its hooks.
type harness struct {
	testing.TB
	gate *conns.Gate
	sup  *conns.Supervisor
	ends chan conns.ConnEnd // in the order of the calls of Ended

	mu       sync.Mutex
	started  map[*transport.Conn]int
	ended    map[*transport.Conn]int
	used     int
	released int // how often a slot was released
}

func newHarness(t testing.TB, limit int, handshake time.Duration) *harness {
	h := &harness{
		TB: t, gate: conns.NewGate(limit), ends: make(chan conns.ConnEnd, 1000),
		started: map[*transport.Conn]int{}, ended: map[*transport.Conn]int{},
	}
	h.gate.Observe(func(s conns.GateState) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s.Used < h.used {
			h.released++
		}
		h.used = s.Used
	})
	h.sup = conns.New(conns.Config{
		Gate: h.gate, Settings: conns.Settings{HandshakeTimeout: handshake},
		Started: func(c *transport.Conn) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.started[c]++
		},
		Ended: func(e conns.ConnEnd) {
			h.mu.Lock()
			h.ended[e.Conn]++
			h.mu.Unlock()
			h.ends <- e
		},
	})
	t.Cleanup(func() { // for connections that a failed test has left
		ctx, cancel := context.WithCancel(bg)
		cancel()
		h.sup.Drain(ctx, conns.DrainOptions{})
	})
	return h
}

// start does what an acceptor does that has accepted nc.
func (h *harness) start(t transport.Transport, nc net.Conn, p protocol.Func) {
	h.Helper()
	useSlots(h, h.gate, 1)
	h.sup.Start(bg, t, nc, p)
}

// end returns the end of the next connection that ends.
func (h *harness) end() conns.ConnEnd {
	h.Helper()
	return receive(h, h.ends)
}

// shutdown stops the supervisor, with time for protocols that return when asked to stop.
func (h *harness) shutdown() {
	h.Helper()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	if err := h.sup.Drain(ctx, conns.DrainOptions{}); err != nil {
		h.Fatalf("Drain: got %v, want nil", err)
	}
}

// close stops the supervisor and checks that both hooks were called once for each connection, that
// each slot was released once, and that the counters add up.
func (h *harness) close() {
	h.Helper()
	h.shutdown()
	c := h.sup.Counters()
	h.balanced(c)
	if c.Live != 0 {
		h.Errorf("after Drain: got %d live connections, want 0", c.Live)
	}
	if s := h.gate.State(); s.Used != 0 {
		h.Errorf("after Drain: got %d used slots, want 0", s.Used)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := uint64(len(h.started)); n != c.Accepted-c.Refused {
		h.Errorf("got Started for %d connections, want %d accepted less %d refused", n, c.Accepted, c.Refused)
	}
	if n := uint64(len(h.ended)); n != c.Accepted {
		h.Errorf("got Ended for %d connections, want %d", n, c.Accepted)
	}
	for conn := range h.started {
		if h.ended[conn] == 0 {
			h.Errorf("connection %d: got Started without Ended, want both", conn.ID())
		}
	}
	for what, m := range map[string]map[*transport.Conn]int{"Started": h.started, "Ended": h.ended} {
		for conn, n := range m {
			if n != 1 {
				h.Errorf("connection %d: got %d calls of %s, want 1", conn.ID(), n, what)
			}
		}
	}
}

// balanced checks the equation of Counters.
func (h *harness) balanced(c conns.Counters) {
	h.Helper()
	if s := imbalance(c); s != "" {
		h.Error(s)
	}
}

func imbalance(c conns.Counters) string {
	var ended, refused, failures uint64
	for r, n := range c.Ended {
		ended += n
		if conns.Reason(r) >= conns.Refused {
			refused += n
		}
	}
	for _, n := range c.HandshakeFailures {
		failures += n
	}
	if c.Live < 0 || c.Live != c.Handshaking+c.Serving+c.Parked+c.Ending || failures != c.HandshakeFailed ||
		c.Accepted != c.Served+c.HandshakeFailed+c.Refused+uint64(c.Live) ||
		ended != c.Served+c.HandshakeFailed+c.Refused || refused > c.Refused || c.Refused > refused+c.Ended[conns.Banned] {
		return fmt.Sprintf("got %+v, want counters that add up", c)
	}
	return ""
}

// receive waits for a value, or for the close of ch, for at most 20 s.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("got nothing for 20 s, want a value")
	}
	panic("unreachable")
}

// list returns the live connections, oldest first.
func list(s *conns.Supervisor) []conns.Info {
	all, _ := s.Select(conns.Query{})
	return all
}

// faultLog collects faults that goroutines find.
type faultLog struct {
	mu     sync.Mutex
	faults []string
}

func (f *faultLog) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *faultLog) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.faults) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%d faults in all)", f.faults[0], len(f.faults))
}

func (f *faultLog) report(t testing.TB) {
	t.Helper()
	if s := f.first(); s != "" {
		t.Error(s)
	}
}

// get returns the connection with that id, and whether there is one.
func get(s *conns.Supervisor, id uint64) (conns.Info, bool) {
	found, _ := s.Select(conns.Query{ID: id})
	if len(found) == 0 {
		return conns.Info{}, false
	}
	return found[0], true
}

// kill kills the connection with that id, and reports whether there was one.
func kill(s *conns.Supervisor, id uint64) bool { return s.Kill(conns.Query{ID: id}) == 1 }

// onlyEnds compares counters without those that counters_test.go tests.
var onlyEnds = cmpopts.IgnoreFields(conns.Counters{}, "BytesRead", "BytesWritten", "HandshakeFailures",
	"Handshaking", "Serving", "Parked", "Ending")

// wantCounters checks the counters of s.
func wantCounters(t testing.TB, s *conns.Supervisor, want conns.Counters) {
	t.Helper()
	if diff := cmp.Diff(want, s.Counters(), onlyEnds); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// wantReason checks why a connection has ended.
func wantReason(t testing.TB, end conns.ConnEnd, want conns.Reason) {
	t.Helper()
	if end.Reason != want {
		t.Errorf("got the end %q (%v), want %q", end.Reason, end.Err, want)
	}
}
