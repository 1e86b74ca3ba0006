package conns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// faultLog collects what goroutines find wrong, and reports the first of it.
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

// stub is a connection without bytes: a read lasts until it is closed, or reading is stopped.
type stub struct {
	closed  chan struct{}
	stopped chan struct{}
	close   sync.Once
	stop    sync.Once
	onStop  func() // nil: nothing
}

func newStub() *stub { return &stub{closed: make(chan struct{}), stopped: make(chan struct{})} }

func (s *stub) Read([]byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	case <-s.stopped:
		return 0, os.ErrDeadlineExceeded
	}
}

func (s *stub) Write(p []byte) (int, error) { return len(p), nil }
func (s *stub) Close() error                { s.close.Do(func() { close(s.closed) }); return nil }
func (s *stub) LocalAddr() net.Addr         { return stubAddr("here") }
func (s *stub) RemoteAddr() net.Addr        { return stubAddr("there") }
func (s *stub) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}
func (s *stub) SetWriteDeadline(time.Time) error { return nil }
func (s *stub) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		s.stop.Do(func() {
			close(s.stopped)
			if s.onStop != nil {
				s.onStop()
			}
		})
	}
	return nil
}

type stubAddr string

func (stubAddr) Network() string  { return "stub" }
func (a stubAddr) String() string { return string(a) }

// fake is a transport whose handshake is a function; nil agrees at once.
type fake struct {
	plain bool
	shake func(ctx context.Context, nc net.Conn) (net.Conn, error)
}

func (fake) Name() string  { return "fake" }
func (fake) Secure() bool  { return false }
func (f fake) Plain() bool { return f.plain }
func (fake) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
func (fake) Dial(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
func (f fake) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if f.shake == nil {
		return nc, nil
	}
	return f.shake(ctx, nc)
}

// house is a supervisor under test, with its gate and a record of what it tells.
type house struct {
	testing.TB
	gate *conns.Gate
	sup  *conns.Supervisor
	ends chan conns.ConnEnd // in order of their coming

	mu       sync.Mutex
	started  map[*transport.Conn]int
	ended    map[*transport.Conn]int
	used     int
	released int // slots given back
}

func newHouse(t testing.TB, limit int, handshake time.Duration) *house {
	h := &house{
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
	t.Cleanup(func() { // whatever a test that fails has left
		ctx, cancel := context.WithCancel(bg)
		cancel()
		h.sup.Shutdown(ctx)
	})
	return h
}

// start is an acceptor that has accepted nc.
func (h *house) start(t transport.Transport, nc net.Conn, p protocol.Func) {
	h.Helper()
	take(h, h.gate, 1)
	h.sup.Start(bg, t, nc, p)
}

// end returns the next end that was told.
func (h *house) end() conns.ConnEnd {
	h.Helper()
	return receive(h, h.ends)
}

// shutdown stops the supervisor with time enough for all that behave.
func (h *house) shutdown() {
	h.Helper()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	if err := h.sup.Shutdown(ctx); err != nil {
		h.Fatal(err)
	}
}

// close stops the supervisor and checks the whole account: everybody was told of once,
// each slot was given back once, and the sums are right.
func (h *house) close() {
	h.Helper()
	h.shutdown()
	c := h.sup.Counters()
	h.balanced(c)
	if c.Live != 0 {
		h.Errorf("%d connections live after Shutdown", c.Live)
	}
	if s := h.gate.State(); s.Used != 0 {
		h.Errorf("%d slots were not given back", s.Used)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := uint64(len(h.started)); n != c.Accepted-c.Refused {
		h.Errorf("%d were told as started, %d accepted and %d of them refused", n, c.Accepted, c.Refused)
	}
	if n := uint64(len(h.ended)); n != c.Accepted {
		h.Errorf("%d were told as ended, %d accepted", n, c.Accepted)
	}
	for conn := range h.started {
		if h.ended[conn] == 0 {
			h.Errorf("connection %d started and did not end", conn.ID())
		}
	}
	for what, m := range map[string]map[*transport.Conn]int{"Started": h.started, "Ended": h.ended} {
		for conn, n := range m {
			if n != 1 {
				h.Errorf("%s was called %d times for connection %d", what, n, conn.ID())
			}
		}
	}
}

// balanced checks the equation that Counters promises.
func (h *house) balanced(c conns.Counters) {
	h.Helper()
	if s := imbalance(c); s != "" {
		h.Error(s)
	}
}

func imbalance(c conns.Counters) string {
	var ended, refused uint64
	for r, n := range c.Ended {
		ended += n
		if conns.Reason(r) >= conns.Refused {
			refused += n
		}
	}
	if c.Live < 0 || c.Accepted != c.Served+c.HandshakeFailed+c.Refused+uint64(c.Live) ||
		ended != c.Served+c.HandshakeFailed+c.Refused || refused != c.Refused {
		return fmt.Sprintf("the counters do not add up: %+v", c)
	}
	return ""
}

// receive waits for a value, or for the channel's close, and not for ever.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came for 20 s")
	}
	panic("unreachable")
}

// tcpPair returns the two ends of a connection over the loopback.
func tcpPair(t testing.TB) (server, client *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

// list returns the live connections of s, oldest first.
func list(s *conns.Supervisor) []conns.Info {
	all, _ := s.Select(conns.Query{})
	return all
}
