package conns_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

func TestPanicError(t *testing.T) {
	for _, tc := range []struct {
		name  string
		serve protocol.Func
		text  string
		value any
		is    error
		place string // in the stack
	}{
		{"text", func(context.Context, *transport.Conn) error { return panicWith("a test") }, "panic: a test", "a test", nil, "conns_test.panicWith"},
		{"error", func(context.Context, *transport.Conn) error { return panicWith(errBoom) }, "panic: boom", errBoom, errBoom, "conns_test.panicWith"},
		{"Goexit", func(context.Context, *transport.Conn) error { runtime.Goexit(); return nil }, "goroutine ended by runtime.Goexit", nil, nil, "runtime.Goexit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			h.start(plain, newStub(), tc.serve)
			end := h.end()
			var p *protocol.PanicError
			if !errors.As(end.Err, &p) {
				t.Fatalf("got %v, want a PanicError", end.Err)
			}
			if p.Error() != tc.text || p.Value != tc.value || !strings.Contains(string(p.Stack), tc.place) {
				t.Errorf("got %q, value %v, stack\n%s\nwant %q, %v, and %s in the stack", p.Error(), p.Value, p.Stack, tc.text, tc.value, tc.place)
			}
			if tc.is != nil && !errors.Is(end.Err, tc.is) {
				t.Errorf("got %v, want an error that wraps %v", end.Err, tc.is)
			}
			h.close()
		})
	}
}

//go:noinline
func panicWith(v any) error { panic(v) }

// A panic ends its own connection only.
func TestPanicEndsItsOwnConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		h.start(plain, newStub(), untilCancelled)
		for range 5 {
			h.start(plain, newStub(), func(context.Context, *transport.Conn) error { panic("a test") })
			h.start(fake{shake: func(context.Context, net.Conn) (net.Conn, error) { panic("a test") }}, newStub(), readAll)
			for range 2 {
				wantReason(t, h.end(), conns.Panicked)
			}
		}
		if c := h.sup.Counters(); c.Live != 1 || c.Served != 5 || c.HandshakeFailed != 5 {
			t.Errorf("got %+v, want 1 live, 5 served and 5 failed handshakes", c)
		}
		h.close()
	})
}

// The cause of a connection's context, and of contexts derived from it, when it is stopped.
func TestContextCause(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(h *harness, client net.Conn)
		want error
	}{
		{"shutdown", stopServer, protocol.ErrShutdown},
		{"kill", killAll, conns.Killed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			causes := make(chan []error, 1)
			type key struct{}
			useSlots(t, h.gate, 1)
			base := context.WithValue(bg, key{}, "of the base")
			h.sup.Start(base, plain, newStub(), protocol.Func(func(ctx context.Context, c *transport.Conn) error {
				derived, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				<-derived.Done()
				causes <- []error{context.Cause(ctx), context.Cause(derived), derived.Err()}
				if v := ctx.Value(key{}); v != "of the base" {
					t.Errorf("got the value %v, want that of the base context", v)
				}
				return nil
			}))
			tc.end(h, nil)
			want := []error{tc.want, tc.want, context.Canceled}
			got := receive(t, causes)
			for i, err := range got {
				if !errors.Is(err, want[i]) {
					t.Errorf("got causes %v, want %v", got, want)
					break
				}
			}
			h.close()
		})
	}
}

func TestContextCauseAfterTheEnd(t *testing.T) {
	h := newHarness(t, 1, 0)
	kept := make(chan context.Context, 1)
	h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
		if err := context.Cause(ctx); err != nil {
			t.Errorf("got the cause %v while serving, want nil", err)
		}
		kept <- ctx
		return nil
	})
	ctx := receive(t, kept)
	h.end()
	if err := context.Cause(ctx); !errors.Is(err, protocol.ErrEnded) {
		t.Errorf("after the end: got the cause %v, want %v", err, protocol.ErrEnded)
	}
	h.close()
}

// The deadline of a derived context does not end that of the connection.
func TestContextDeadlineOfTheProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, 0)
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			derived, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			<-derived.Done()
			if ctx.Err() != nil {
				t.Error("the connection's context: got an end with the derived one, want none")
			}
			return context.Cause(derived)
		})
		if end := h.end(); end.Reason != conns.TimedOut || end.Duration != 10*time.Second {
			t.Errorf("got the end %+v, want %q after 10s", end, conns.TimedOut)
		}
		h.close()
	})
}

// Start asks for a base context that never ends. If it ends, so do its connections.
func TestBaseContextEnds(t *testing.T) {
	h := newHarness(t, 1, 0)
	base, cancel := context.WithCancelCause(bg)
	useSlots(t, h.gate, 1)
	h.sup.Start(base, plain, newStub(), protocol.Func(untilCancelled))
	cancel(errGaveUp)
	wantReason(t, h.end(), conns.Shutdown)
	h.close()
}

// When a slot is released, the socket is closed and the connection deregistered: neither
// descriptors nor Select ever show more connections than the cap.
func TestSlotIsFreeOnlyWhenTheConnectionIsGone(t *testing.T) {
	for name, serve := range map[string]protocol.Func{
		"returns":  func(context.Context, *transport.Conn) error { return nil },
		"panics":   func(context.Context, *transport.Conn) error { panic("a test") },
		"is asked": untilCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			nc := newStub()
			freed := false
			h.gate.Observe(func(s conns.GateState) {
				if s.Used > 0 {
					return
				}
				freed = true
				select {
				case <-nc.closed:
				default:
					t.Error("got an open socket, want it closed")
				}
				if c := h.sup.Counters(); c.Live != 0 {
					t.Errorf("got %d live connections, want 0", c.Live)
				}
			})
			h.start(plain, nc, serve)
			h.close()
			if !freed {
				t.Error("got no release of the slot, want one")
			}
		})
	}
}

// Hooks may use the supervisor and the gate: no lock is held while they are called.
func TestHooksMayUseTheSupervisor(t *testing.T) {
	g := conns.NewGate(1)
	var s *conns.Supervisor
	use := func(c *transport.Conn) {
		list(s)
		get(s, c.ID())
		s.Counters()
		kill(s, c.ID())
		g.State()
		conns.Remove(c)
	}
	ends := make(chan conns.ConnEnd, 1)
	s = conns.New(conns.Config{Gate: g, Started: use, Ended: func(e conns.ConnEnd) { use(e.Conn); ends <- e }})
	useSlots(t, g, 1)
	s.Start(bg, plain, newStub(), protocol.Func(readAll))
	wantReason(t, receive(t, ends), conns.Killed)
	if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
		t.Errorf("Drain: got %v, want nil", err)
	}
	wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
}

// The hooks are optional.
func TestNoHooks(t *testing.T) {
	g := conns.NewGate(2)
	s := conns.New(conns.Config{Gate: g})
	useSlots(t, g, 1)
	s.Start(bg, plain, newStub(), protocol.Func(untilCancelled))
	s.Refuse(bg, conns.Refused, plain, newStub(), nil)
	if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
		t.Errorf("Drain: got %v, want nil", err)
	}
	want := conns.Counters{Accepted: 2, Served: 1, Refused: 1}
	want.Ended[conns.Shutdown], want.Ended[conns.Refused] = 1, 1
	wantCounters(t, s, want)
}

// A panic or the end of the goroutine in Started ends the connection; the end of the goroutine
// in Ended affects neither the counters nor Drain.
func TestHooksThatFail(t *testing.T) {
	for name, tc := range map[string]struct {
		started func(*transport.Conn)
		ended   func(conns.ConnEnd)
		want    conns.Counters
	}{
		"Started panics": {started: func(*transport.Conn) { panic("a test") },
			want: conns.Counters{Accepted: 1, HandshakeFailed: 1}},
		"Started ends the goroutine": {started: func(*transport.Conn) { runtime.Goexit() },
			want: conns.Counters{Accepted: 1, HandshakeFailed: 1}},
		"Ended ends the goroutine": {ended: func(conns.ConnEnd) { runtime.Goexit() },
			want: conns.Counters{Accepted: 1, Served: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := conns.NewGate(1)
			s := conns.New(conns.Config{Gate: g, Started: tc.started, Ended: tc.ended})
			nc := newStub()
			useSlots(t, g, 1)
			s.Start(bg, plain, nc, protocol.Func(func(context.Context, *transport.Conn) error { return nil }))
			receive(t, nc.closed)
			if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
				t.Errorf("Drain: got %v, want nil", err)
			}
			reason := conns.Panicked
			if tc.want.Served > 0 {
				reason = conns.Finished
			}
			tc.want.Ended[reason] = 1
			wantCounters(t, s, tc.want)
			wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
		})
	}
}

// badClose is a connection whose Close fails in its own way.
type badClose struct {
	*stub
	fail func()
}

func (b badClose) Close() error {
	b.stub.Close()
	b.fail()
	return nil
}

// A Close of the transport that panics or ends its goroutine affects its own connection only.
func TestCloseThatFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fail  func()
		serve protocol.Func
		want  conns.Reason
	}{
		{"panics", func() { panic("a test") }, func(context.Context, *transport.Conn) error { return nil }, conns.Panicked},
		{"panics after a panic", func() { panic("a test") }, func(context.Context, *transport.Conn) error { panic("a test") }, conns.Panicked},
		{"ends the goroutine", runtime.Goexit, func(context.Context, *transport.Conn) error { return nil }, conns.Finished},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			h.start(plain, badClose{newStub(), tc.fail}, tc.serve)
			wantReason(t, h.end(), tc.want)
			h.close()
			if h.released != 1 {
				t.Errorf("got %d releases of the slot, want 1", h.released)
			}
		})
	}
}

// The same Close in a goroutine of the server: of Kill, Monitor, Refuse, or a handshake timeout.
func TestAbortThatPanics(t *testing.T) {
	fail := func() { panic("a test") }
	silent := fake{shake: func(_ context.Context, nc net.Conn) (net.Conn, error) {
		_, err := nc.Read(make([]byte, 1)) // until the socket is closed
		return nil, err
	}}
	for _, tc := range []struct {
		name string
		t    transport.Transport
		do   func(h *harness)
		want conns.Reason
	}{
		{"Kill", plain, func(h *harness) { h.sup.Kill(conns.Query{}) }, conns.Killed},
		{"Evict", plain, func(h *harness) { h.sup.Evict(conns.EvictOldest, func(n int) int { return n }) }, conns.Evicted},
		{"Shutdown", plain, func(h *harness) { abortServer(h, nil) }, conns.Aborted},
		{"handshake timeout", silent, func(*harness) {}, conns.HandshakeTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, 1, 20*time.Millisecond)
			h.start(tc.t, badClose{newStub(), fail}, untilSocketClosesOf)
			tc.do(h)
			wantReason(t, h.end(), tc.want)
			h.sup.Refuse(bg, conns.RefusedAtCap, plain, badClose{newStub(), fail}, nil)
			wantReason(t, h.end(), conns.RefusedAtCap)
			h.close()
		})
	}
}

// untilSocketClosesOf is untilSocketCloses for badClose.
func untilSocketClosesOf(_ context.Context, c *transport.Conn) error {
	<-c.NetConn().(badClose).closed
	return net.ErrClosed
}

// askingConn is a connection whose RemoteAddr calls a function.
type askingConn struct {
	*stub
	ask func()
}

func (a askingConn) RemoteAddr() net.Addr {
	a.ask()
	return a.stub.RemoteAddr()
}

// Addresses come from functions of users, which may use the supervisor: no lock is held.
func TestAddressesMayUseTheSupervisor(t *testing.T) {
	h := newHarness(t, 1, 0)
	ask := func() { h.sup.Counters(); h.sup.RecentlyClosed(); h.gate.State() }
	h.start(plain, askingConn{newStub(), ask}, func(context.Context, *transport.Conn) error { return nil })
	h.end()
	go h.sup.Refuse(bg, conns.Refused, plain, askingConn{newStub(), ask}, nil)
	h.end()
	for _, i := range h.sup.RecentlyClosed() {
		if s := i.State(); s != "closed" || i.RemoteAddr != stubAddr("remote") {
			t.Errorf("got state %q and address %v, want closed and remote", s, i.RemoteAddr)
		}
	}
	h.close()
}
