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

// A protocol that fails at once, in whatever way, harms only the connections it is called
// for: those before it and after it are served.
func TestProtocolFailsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      func() error
		reason conns.Reason
	}{
		{"panic", func() error { panic("at once") }, conns.Panicked},
		{"panic with an error", func() error { panic(errNotToday) }, conns.Panicked},
		{"nil dereference", func() error { var p *transport.Conn; return p.Close() }, conns.Panicked},
		{"Goexit", func() error { runtime.Goexit(); return nil }, conns.Panicked},
		{"error", func() error { return errNotToday }, conns.Failed},
		{"nil", func() error { return nil }, conns.Finished},
	} {
		t.Run(c.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, m medium) {
				n := m.many(20)
				l, rec := m.start(t, ranch.Options{MaxConnections: 5}, answer)
				before := m.guests(t, l, 2)
				l.SetProtocol(protocol.Func(func(context.Context, *transport.Conn) error { return c.f() }))
				for range n {
					m.visit(t, l)
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, n) {
					if e.Reason != c.reason || !e.Served || (e.Err == nil) != (c.reason == conns.Finished) {
						t.Fatalf("it ended with %v, served %v, error %v", e.Reason, e.Served, e.Err)
					}
				}
				l.SetProtocol(answer)
				for _, v := range append(before, m.guests(t, l, 3)...) {
					v.works(t)
				}
				want := map[conns.Reason]uint64{c.reason: uint64(n)}
				if diff := cmp.Diff(want, l.Info().Reasons); diff != "" {
					t.Errorf("reasons (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A protocol that never returns costs its slot, and nothing else.
func TestProtocolNeverReturns(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		stuck := newDeaf(t)
		l, _ := m.start(t, ranch.Options{MaxConnections: 3}, stuck)
		for _, v := range m.guests(t, l, 2) {
			v.leave()
		}
		l.SetProtocol(answer)
		for range 5 {
			v := m.guests(t, l, 1)[0]
			v.works(t)
			v.leave()
			active(t, l, 2)
		}
		stuck.free()
		active(t, l, 0)
	})
}

// handshaking is a transport of somebody's own.
type handshaking struct {
	fake
	plain bool
}

func (h *handshaking) Plain() bool { return h.plain }

// A handshake that panics, or ends its goroutine, ends its own connection, whether or not
// the transport says that it is a plain one.
func TestHandshakePanics(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for name, f := range map[string]func(){"panic": func() { panic(errNotToday) }, "Goexit": runtime.Goexit} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr, bad := &handshaking{plain: plain}, true
					tr.handshake = func(_ context.Context, nc net.Conn) (net.Conn, error) {
						if bad {
							f()
						}
						return nc, nil
					}
					l, rec := start(t, tr, ranch.Options{MaxConnections: 2}, answer)
					for range 5 {
						visit(t, tr, dialAddr(l))
					}
					for _, e := range rec.wait(t, ranch.ConnEnded, 5) {
						var p *protocol.PanicError
						if e.Reason != conns.Panicked || e.Served || !errors.As(e.Err, &p) {
							t.Errorf("it ended with %v, served %v, error %v", e.Reason, e.Served, e.Err)
						}
					}
					bad = false
					guests(t, tr, dialAddr(l), 2)
					if got := l.Info(); got.HandshakeFailed != 5 || got.Served != 0 || got.ActiveConnections != 2 {
						t.Errorf("plain %v: %s", plain, pretty(got))
					}
				})
			})
		}
	}
}

// A handshake that takes no notice of its context holds its slot, but not the listener.
func TestHandshakeIgnoresItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tr := &fake{handshake: func(_ context.Context, nc net.Conn) (net.Conn, error) { <-release; return nc, nil }}
		l, _ := start(t, tr, ranch.Options{HandshakeTimeout: time.Second, ShutdownTimeout: time.Second}, answer)
		visit(t, tr, dialAddr(l))
		synctest.Wait()
		begin := time.Now()
		var stuck *conns.StuckError
		if err := l.Stop(); !errors.As(err, &stuck) || len(stuck.Conns) != 1 || stuck.Conns[0].Served {
			t.Errorf("stopping: %v", err)
		}
		if got := time.Since(begin); got != 2*time.Second {
			t.Errorf("it took %v", got)
		}
		close(release)
		active(t, l, 0)
	})
}
