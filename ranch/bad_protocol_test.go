package ranch_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// A protocol that fails at once, in whatever way, ends only its own connections.
func TestProtocolFailsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      func() error
		reason conns.Reason
	}{
		{"panic", func() error { panic("at once") }, conns.Panicked},
		{"panic with an error", func() error { panic(errTest) }, conns.Panicked},
		{"nil dereference", func() error { var p *transport.Conn; return p.Close() }, conns.Panicked},
		{"Goexit", func() error { runtime.Goexit(); return nil }, conns.Panicked},
		{"error", func() error { return errTest }, conns.Failed},
		{"nil", func() error { return nil }, conns.Finished},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, m testTransport) {
				n := m.scale(20)
				l, rec := m.startListener(t, ranch.Options{MaxConnections: 5}, greetAndEcho)
				before := m.servedClients(t, l, 2)
				l.SetProtocol(protocol.Func(func(context.Context, *transport.Conn) error { return c.f() }))
				for range n {
					m.newClient(t, l)
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, n) {
					if e.Reason != c.reason || !e.Served || (e.Err == nil) != (c.reason == conns.Finished) {
						t.Fatalf("got reason %v, served %v, error %v, want %v", e.Reason, e.Served, e.Err, c.reason)
					}
				}
				l.SetProtocol(greetAndEcho)
				for _, v := range append(before, m.servedClients(t, l, 3)...) {
					v.checkEcho(t)
				}
				want := map[conns.Reason]uint64{c.reason: uint64(n)}
				if diff := cmp.Diff(want, l.Info().Reasons); diff != "" {
					t.Errorf("reasons (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A protocol that does not return costs its slot, and nothing else.
func TestProtocolNeverReturns(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		stuck := newBlockingProtocol(t)
		l, _ := m.startListener(t, ranch.Options{MaxConnections: 3}, stuck)
		for _, v := range m.servedClients(t, l, 2) {
			v.close()
		}
		l.SetProtocol(greetAndEcho)
		for range 5 {
			v := m.servedClients(t, l, 1)[0]
			v.checkEcho(t)
			v.close()
			waitActive(t, l, 2)
		}
		stuck.unblock()
		waitActive(t, l, 0)
	})
}

// A handshake that panics or ends its goroutine ends its own connection.
func TestHandshakePanics(t *testing.T) {
	for name, f := range map[string]func(){"panic": func() { panic(errTest) }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := true
				tr := &fakeTransport{handshake: func(_ context.Context, nc net.Conn) (net.Conn, error) {
					if bad {
						f()
					}
					return nc, nil
				}}
				l, rec := startListener(t, tr, ranch.Options{MaxConnections: 2}, greetAndEcho)
				for range 5 {
					newClient(t, tr, dialAddr(l))
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, 5) {
					var p *protocol.PanicError
					if e.Reason != conns.Panicked || e.Served || !errors.As(e.Err, &p) {
						t.Errorf("got reason %v, served %v, error %v, want %v and a PanicError", e.Reason, e.Served, e.Err, conns.Panicked)
					}
				}
				bad = false
				servedClients(t, tr, dialAddr(l), 2)
				if got := l.Info(); got.HandshakeFailed != 5 || got.Served != 0 || got.ActiveConnections != 2 {
					t.Errorf("got %s, want 5 failed handshakes and 2 active connections", pretty(got))
				}
			})
		})
	}
}

// A handshake that ignores its context keeps its slot, but does not keep the listener from
// stopping.
func TestHandshakeIgnoresItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tr := &fakeTransport{handshake: func(_ context.Context, nc net.Conn) (net.Conn, error) { <-release; return nc, nil }}
		l, _ := startListener(t, tr, ranch.Options{HandshakeTimeout: time.Second, ShutdownTimeout: time.Second}, greetAndEcho)
		newClient(t, tr, dialAddr(l))
		synctest.Wait()
		begin := time.Now()
		var stuck *conns.StuckError
		if err := l.Stop(); !errors.As(err, &stuck) || len(stuck.Conns) != 1 || stuck.Conns[0].Served {
			t.Errorf("Stop: got %v, want an error that names 1 connection", err)
		}
		if got := time.Since(begin); got != 2*time.Second {
			t.Errorf("Stop: got %v, want %v", got, 2*time.Second)
		}
		close(release)
		waitActive(t, l, 0)
	})
}
