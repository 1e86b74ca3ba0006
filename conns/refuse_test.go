package conns_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"goranch/conns"
	"goranch/protocol"
)

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		refuse func(h *harness, nc net.Conn)
	}{
		{"started after a shutdown", func(h *harness, nc net.Conn) { h.shutdown(); h.start(plain, nc, readAll) }},
		{"refused by the acceptor", func(h *harness, nc net.Conn) { h.sup.Refuse(bg, conns.Refused, plain, nc, nil) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			server, client := tcpPair(t)
			tc.refuse(h, server)
			end := h.end()
			if end.Reason != conns.Refused || end.Served || !errors.Is(end.Err, protocol.ErrShutdown) || end.Conn.NetConn() != net.Conn(server) {
				t.Errorf("got the end %+v, want %q without Served and with %v", end, conns.Refused, protocol.ErrShutdown)
			}
			if n, err := client.Read(make([]byte, 1)); err == nil {
				t.Errorf("client read: got %d bytes, want an error", n)
			}
			want := conns.Counters{Accepted: 1, Refused: 1}
			want.Ended[conns.Refused] = 1
			wantCounters(t, h.sup, want)
			h.close()
		})
	}
}

// When Ended is called for a refused connection its slot is released, Remove has no effect, and
// nothing of the connection is left.
func TestRefusedLeavesNothing(t *testing.T) {
	g := conns.NewGate(1)
	ends := 0
	s := conns.New(conns.Config{Gate: g, Ended: func(e conns.ConnEnd) {
		ends++
		wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
		conns.Remove(e.Conn)
	}})
	if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
		t.Fatalf("Drain: got %v, want nil", err)
	}
	base := &countingContext{Context: bg, done: make(chan struct{})}
	useSlots(t, g, 1)
	nc := newStub()
	s.Start(base, plain, nc, protocol.Func(readAll))
	wantState(t, g, conns.GateState{Limit: 1, Peak: 1})
	if ends != 1 {
		t.Errorf("got %d calls of Ended, want 1", ends)
	}
	if n := base.children.Load(); n != 0 {
		t.Errorf("got %d children of the base context, want 0", n)
	}
	receive(t, nc.closed)
}

// countingContext is a context that can end and counts its children.
type countingContext struct {
	context.Context
	done     chan struct{}
	children atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

// AfterFunc is what package context calls for each child of a context that is not its own.
func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.children.Add(1)
	return func() bool { c.children.Add(-1); return true }
}
