package conns_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// ipConn is a stub with an IP address, which the limits per address count.
type ipConn struct{ *stub }

func (ipConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// However a connection ends, its source address and its handshake are no longer counted.
func TestNothingStaysCounted(t *testing.T) {
	result := func(f func()) func(context.Context, net.Conn) (net.Conn, error) {
		return func(_ context.Context, nc net.Conn) (net.Conn, error) { f(); return nc, nil }
	}
	panics := func() { panic("a test") }
	for _, tc := range []struct {
		name    string
		t       transport.Transport
		started func(*transport.Conn)
		serve   protocol.Func
	}{
		{name: "served", t: fake{}, serve: func(context.Context, *transport.Conn) error { return nil }},
		{name: "protocol panics", t: fake{}, serve: func(context.Context, *transport.Conn) error { panic("a test") }},
		{name: "protocol ends the goroutine", t: fake{}, serve: func(context.Context, *transport.Conn) error { runtime.Goexit(); return nil }},
		{name: "handshake panics", t: fake{shake: result(panics)}},
		{name: "handshake ends the goroutine", t: fake{shake: result(runtime.Goexit)}},
		{name: "plain handshake panics", t: fake{plain: true, shake: result(panics)}},
		{name: "plain handshake ends the goroutine", t: fake{plain: true, shake: result(runtime.Goexit)}},
		{name: "Started panics", t: fake{}, started: func(*transport.Conn) { panics() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := conns.NewGate(10)
			ends := make(chan conns.ConnEnd, 10)
			s := conns.New(conns.Config{Gate: g, Started: tc.started, Ended: func(e conns.ConnEnd) { ends <- e },
				Settings: conns.Settings{HandshakeTimeout: time.Minute, Limits: conns.Limits{PerAddress: 1, MaxHandshakes: 1}}})
			for range 3 { // each needs what the one before has released
				useSlots(t, g, 1)
				s.Start(bg, tc.t, ipConn{newStub()}, tc.serve)
				if end := receive(t, ends); end.Reason == conns.RefusedAddress {
					t.Errorf("got the end %q, want the address free", end.Reason)
				}
			}
			if c := s.Counters(); c.Addresses != 0 || c.Handshakes != 0 {
				t.Errorf("got %d addresses and %d handshakes, want 0 and 0", c.Addresses, c.Handshakes)
			}
			if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
				t.Errorf("Drain: got %v, want nil", err)
			}
			wantState(t, g, conns.GateState{Limit: 10, Peak: 1})
		})
	}
}

// A connection above the limit of its address is refused.
func TestPerAddress(t *testing.T) {
	g := conns.NewGate(10)
	ends := make(chan conns.ConnEnd, 10)
	s := conns.New(conns.Config{Gate: g, Ended: func(e conns.ConnEnd) { ends <- e },
		Settings: conns.Settings{Limits: conns.Limits{PerAddress: 1}}})
	useSlots(t, g, 2)
	s.Start(bg, plain, ipConn{newStub()}, protocol.Func(untilCancelled))
	for s.Counters().Addresses == 0 {
		runtime.Gosched()
	}
	s.Start(bg, plain, ipConn{newStub()}, protocol.Func(untilCancelled))
	wantReason(t, receive(t, ends), conns.RefusedAddress)
	if err := s.Drain(bg, conns.DrainOptions{}); err != nil {
		t.Errorf("Drain: got %v, want nil", err)
	}
	want := conns.Counters{Accepted: 2, Served: 1, Refused: 1}
	want.Ended[conns.Shutdown], want.Ended[conns.RefusedAddress] = 1, 1
	wantCounters(t, s, want)
}
