package ranch_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// happened is an event without what differs from run to run.
type happened struct {
	Kind     ranch.EventKind
	Addr     string
	Acceptor int
	Conn     int // from 1, in the order in which they came
	Reason   conns.Reason
	Served   bool
	Err      string
	Duration time.Duration
}

func (r *recorder) history(t testing.TB) (all []happened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers := map[uint64]int{}
	for _, e := range r.events {
		if e.Ref != ref {
			t.Errorf("an event of %q: %v", e.Ref, e.Kind)
		}
		h := happened{Kind: e.Kind, Acceptor: e.Acceptor, Reason: e.Reason, Served: e.Served, Duration: e.Duration}
		if e.Addr != nil {
			h.Addr = e.Addr.String()
		}
		if e.Err != nil {
			h.Err = e.Err.Error()
		}
		if e.Conn != nil {
			if numbers[e.Conn.ID()] == 0 {
				numbers[e.Conn.ID()] = len(numbers) + 1
			}
			h.Conn = numbers[e.Conn.ID()]
		}
		all = append(all, h)
	}
	return all
}

// A listener's life as its observer sees it: everything, once, in order.
func TestEventsOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		l, rec := start(t, f, ranch.Options{NumAcceptors: 1}, answer)
		first := guests(t, f, dialAddr(l), 1)[0]
		time.Sleep(3 * time.Second)
		first.leave()
		synctest.Wait()
		guests(t, f, dialAddr(l), 1)
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.last().say(fails(errNotToday))
		time.Sleep(10 * time.Second)
		f.last().Close()
		synctest.Wait()
		f.last().say(panics("boo"))
		synctest.Wait()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		const addr = ":1"
		want := []happened{
			{Kind: ranch.ListenerStarted, Addr: addr},
			{Kind: ranch.AcceptorStarted},
			{Kind: ranch.ConnStarted, Conn: 1},
			{Kind: ranch.ConnEnded, Conn: 1, Reason: conns.PeerClosed, Served: true, Err: "EOF", Duration: 3 * time.Second},
			{Kind: ranch.ConnStarted, Conn: 2},
			{Kind: ranch.AcceptorStopped},
			{Kind: ranch.ListenerSuspended, Addr: addr},
			{Kind: ranch.ListenerResumed, Addr: addr},
			{Kind: ranch.AcceptorStarted},
			{Kind: ranch.AcceptFailed, Addr: addr, Err: "not today"},
			{Kind: ranch.AcceptRecovered, Addr: addr, Duration: 100 * time.Millisecond},
			{Kind: ranch.AcceptFailed, Addr: addr, Err: "accept fake :1: use of closed network connection"},
			{Kind: ranch.SocketReopened, Addr: addr},
			{Kind: ranch.AcceptorPanicked, Err: "panic: boo"},
			{Kind: ranch.AcceptorStopped},
			{Kind: ranch.ConnEnded, Conn: 2, Reason: conns.Shutdown, Served: true, Err: "read pipe pipe->pipe: the listener is shutting down", Duration: 11 * time.Second},
			{Kind: ranch.ListenerStopped, Addr: addr},
		}
		if diff := cmp.Diff(want, rec.history(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Each way for a connection to end has its reason, and is told with its error, whether
// the protocol was called, and how long it lasted.
func TestEventsOfEnds(t *testing.T) {
	const s = time.Second
	serve := func(f func(context.Context, *transport.Conn) error) protocol.Protocol { return protocol.Func(f) }
	after := func(err error) protocol.Protocol {
		return serve(func(context.Context, *transport.Conn) error { <-time.After(s); return err })
	}
	reads := serve(func(_ context.Context, conn *transport.Conn) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	shake := func(f func(context.Context, net.Conn) error) *fake {
		return &fake{handshake: func(ctx context.Context, nc net.Conn) (net.Conn, error) { return nc, f(ctx, nc) }}
	}
	never := shake(func(_ context.Context, nc net.Conn) error { _, err := nc.Read(make([]byte, 1)); return err })
	for _, c := range []struct {
		name string
		f    *fake
		p    protocol.Protocol
		do   func(l *ranch.Listener, nc net.Conn) // besides the client's coming
		want happened
	}{
		{"nil", new(fake), after(nil), nil, happened{Reason: conns.Finished, Served: true, Duration: s}},
		{"an error", new(fake), after(errNotToday), nil, happened{Reason: conns.Failed, Served: true, Err: "not today", Duration: s}},
		{"a panic", new(fake), serve(func(context.Context, *transport.Conn) error { panic("boo") }), nil, happened{Reason: conns.Panicked, Served: true, Err: "panic: boo"}},
		{"EOF", new(fake), reads, func(_ *ranch.Listener, nc net.Conn) { nc.Close() }, happened{Reason: conns.PeerClosed, Served: true, Err: "EOF"}},
		{"half a message", new(fake), serve(func(_ context.Context, conn *transport.Conn) error {
			_, err := io.ReadFull(conn, make([]byte, 2))
			return err
		}), func(_ *ranch.Listener, nc net.Conn) { nc.Write([]byte{1}); nc.Close() }, happened{Reason: conns.PeerClosed, Served: true, Err: "unexpected EOF"}},
		{"a deadline", new(fake), serve(func(_ context.Context, conn *transport.Conn) error {
			conn.SetReadDeadline(time.Now().Add(s))
			_, err := conn.Read(make([]byte, 1))
			return err
		}), nil, happened{Reason: conns.TimedOut, Served: true, Err: "read pipe: i/o timeout", Duration: s}},
		{"handshake failed", shake(func(context.Context, net.Conn) error { return errNotToday }), answer, nil, happened{Reason: conns.HandshakeFailed, Err: "not today"}},
		{"gone in the handshake", never, answer, func(_ *ranch.Listener, nc net.Conn) { nc.Close() }, happened{Reason: conns.HandshakeFailed, Err: "EOF"}},
		{"handshake panicked", shake(func(context.Context, net.Conn) error { panic("boo") }), answer, nil, happened{Reason: conns.Panicked, Err: "panic: boo"}},
		{"handshake timeout", shake(func(ctx context.Context, _ net.Conn) error { <-ctx.Done(); return errNotToday }), answer, nil, happened{Reason: conns.HandshakeTimeout, Err: "context deadline exceeded\nnot today", Duration: 5 * s}},
		{"killed", new(fake), reads, func(l *ranch.Listener, _ net.Conn) { l.Kill(l.Connections()[0].ID) }, happened{Reason: conns.Killed, Served: true, Err: "io: read/write on closed pipe"}},
		{"shutdown", new(fake), reads, func(l *ranch.Listener, _ net.Conn) { l.Stop() }, happened{Reason: conns.Shutdown, Served: true, Err: "read pipe pipe->pipe: the listener is shutting down"}},
		{"aborted", new(fake), untilClosed, func(l *ranch.Listener, _ net.Conn) { l.Stop() }, happened{Reason: conns.Aborted, Served: true, Err: "io: read/write on closed pipe", Duration: 5 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, rec := start(t, c.f, ranch.Options{NumAcceptors: 1}, c.p)
				nc, err := c.f.Dial(t.Context(), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				synctest.Wait()
				if c.do != nil {
					c.do(l, nc)
				}
				rec.wait(t, ranch.ConnEnded, 1)
				c.want.Kind, c.want.Conn = ranch.ConnEnded, 1
				var got []happened
				for _, h := range rec.history(t) {
					if h.Conn != 0 {
						got = append(got, h)
					}
				}
				if diff := cmp.Diff([]happened{{Kind: ranch.ConnStarted, Conn: 1}, c.want}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if n := l.Info().Reasons[c.want.Reason]; n != 1 {
					t.Errorf("it is counted %d times under %q", n, c.want.Reason)
				}
			})
		})
	}
}

// The reason is the same over every medium, though each has errors of its own.
func TestReasonsOverEach(t *testing.T) {
	reads := func(conn *transport.Conn) error { _, err := conn.Read(make([]byte, 1)); return err }
	for _, c := range []struct {
		name string
		f    func(conn *transport.Conn) error
		do   func(nc net.Conn)
		want conns.Reason
	}{
		{"the peer closes", reads, func(nc net.Conn) { nc.Close() }, conns.PeerClosed},
		{"the peer vanishes", reads, func(nc net.Conn) { reset(raw(nc)) }, conns.PeerClosed},
		{"the peer takes nothing more", func(conn *transport.Conn) error { return untilClosed(context.Background(), conn) }, func(nc net.Conn) { reset(raw(nc)) }, conns.PeerClosed},
		{"the protocol closes, and reads", func(conn *transport.Conn) error { conn.Close(); return reads(conn) }, nil, conns.Finished},
		{"a deadline", func(conn *transport.Conn) error { conn.SetReadDeadline(time.Unix(1, 0)); return reads(conn) }, nil, conns.TimedOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, m medium) {
				l, rec := m.start(t, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
					conn.Write([]byte{greeting})
					return c.f(conn)
				}))
				v := m.guests(t, l, 1)[0]
				if c.do != nil {
					c.do(v.nc)
				}
				if e := rec.wait(t, ranch.ConnEnded, 1)[0]; e.Reason != c.want {
					t.Errorf("it ended: %v, %v", e.Reason, e.Err)
				}
			})
		})
	}
}

// A peer that takes nothing ends its connection after the send timeout of the transport.
func TestEventOfSendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		ln, err := f.Listen(t.Context(), ":0")
		if err != nil {
			t.Fatal(err)
		}
		_, rec := start(t, transport.FromListener(ln), ranch.Options{}, untilClosed)
		nc, err := f.Dial(t.Context(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if e.Reason != conns.SendTimeout || e.Duration != 30*time.Second || !errors.Is(e.Err, transport.ErrSendTimeout) {
			t.Errorf("it ended after %v: %v, %v", e.Duration, e.Reason, e.Err)
		}
	})
}

// When an end is told, it has happened: the slot is free, the counters are right, and
// the connection is not listed any more.
func TestEventOfEndComesLast(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		var l *ranch.Listener
		listening := make(chan struct{})
		ended := make(chan ranch.Event, 1)
		l, _ = m.start(t, ranch.Options{MaxConnections: 1, Observer: ranch.Observer(func(e ranch.Event) {
			switch e.Kind {
			case ranch.ConnStarted:
				<-listening
				if i := l.Info(); i.ActiveConnections != 1 || i.AllConnections != 1 || len(l.Connections()) != 1 {
					t.Errorf("at its begin: %s", pretty(i))
				}
			case ranch.ConnEnded:
				if i := l.Info(); i.ActiveConnections != 0 || i.AllConnections != 0 || i.Terminated != 1 || len(l.Connections()) != 0 {
					t.Errorf("at its end: %s", pretty(i))
				}
				if _, err := e.Conn.Write([]byte("x")); err == nil {
					t.Error("it is not closed")
				}
				ended <- e
			}
		})}, answer)
		close(listening)
		v := m.guests(t, l, 1)[0]
		v.works(t)
		v.leave()
		e := await(t, "the end is told", ended)
		if st := e.Conn.Stats(); st.BytesRead != 4 || st.BytesWritten != 5 {
			t.Errorf("it carried %+v", st)
		}
	})
}

// Every kind has words of its own.
func TestEventKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := ranch.ListenerStarted; k <= ranch.AlarmRaised; k++ {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if got := (ranch.AlarmRaised + 1).String(); got != "EventKind(13)" {
		t.Errorf("no kind at all is called %q", got)
	}
}
