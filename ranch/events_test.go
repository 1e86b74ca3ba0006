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

// eventSummary is an event without the fields that differ from run to run.
type eventSummary struct {
	Kind     ranch.EventKind
	Addr     string
	Acceptor int
	Conn     int // from 1, in order of their first event
	Reason   conns.Reason
	Served   bool
	Err      string
	Duration time.Duration
}

func (r *recorder) history(t testing.TB) (all []eventSummary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers := map[uint64]int{}
	for _, e := range r.events {
		if e.Ref != ref {
			t.Errorf("got an event %v of %q, want %q", e.Kind, e.Ref, ref)
		}
		h := eventSummary{Kind: e.Kind, Acceptor: e.Acceptor, Reason: e.Reason, Served: e.Served, Duration: e.Duration}
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

// The observer of a listener sees every event once, in order.
func TestEventsOfAListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 1}, greetAndEcho)
		first := servedClients(t, f, dialAddr(l), 1)[0]
		time.Sleep(3 * time.Second)
		first.close()
		synctest.Wait()
		servedClients(t, f, dialAddr(l), 1)
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.lastListener().addScript(failWith(errTest))
		time.Sleep(10 * time.Second)
		f.lastListener().Close()
		synctest.Wait()
		f.lastListener().addScript(panicWith("test"))
		synctest.Wait()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		const addr = ":1"
		want := []eventSummary{
			{Kind: ranch.ListenerStarted, Addr: addr},
			{Kind: ranch.AcceptorStarted},
			{Kind: ranch.ConnStarted, Conn: 1},
			{Kind: ranch.ConnEnded, Conn: 1, Reason: conns.PeerClosed, Served: true, Err: "EOF", Duration: 3 * time.Second},
			{Kind: ranch.ConnStarted, Conn: 2},
			{Kind: ranch.AcceptorStopped},
			{Kind: ranch.ListenerSuspended, Addr: addr},
			{Kind: ranch.ListenerResumed, Addr: addr},
			{Kind: ranch.AcceptorStarted},
			{Kind: ranch.AcceptFailed, Addr: addr, Err: "test error"},
			{Kind: ranch.AcceptRecovered, Addr: addr, Duration: 100 * time.Millisecond},
			{Kind: ranch.AcceptFailed, Addr: addr, Err: "accept fake :1: use of closed network connection"},
			{Kind: ranch.SocketReopened, Addr: addr},
			{Kind: ranch.AcceptorPanicked, Err: "panic: test"},
			{Kind: ranch.AcceptorStopped},
			{Kind: ranch.ConnEnded, Conn: 2, Reason: conns.Shutdown, Served: true, Err: "read pipe pipe->pipe: the listener is shutting down", Duration: 11 * time.Second},
			{Kind: ranch.ListenerStopped, Addr: addr},
		}
		if diff := cmp.Diff(want, rec.history(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Each way for a connection to end has its reason. The event has the error, whether the protocol
// was called, and the duration.
func TestEventsOfEndedConnections(t *testing.T) {
	const s = time.Second
	serve := func(f func(context.Context, *transport.Conn) error) protocol.Protocol { return protocol.Func(f) }
	after := func(err error) protocol.Protocol {
		return serve(func(context.Context, *transport.Conn) error { <-time.After(s); return err })
	}
	reads := serve(func(_ context.Context, conn *transport.Conn) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	shake := func(f func(context.Context, net.Conn) error) *fakeTransport {
		return &fakeTransport{handshake: func(ctx context.Context, nc net.Conn) (net.Conn, error) { return nc, f(ctx, nc) }}
	}
	never := shake(func(_ context.Context, nc net.Conn) error { _, err := nc.Read(make([]byte, 1)); return err })
	for _, c := range []struct {
		name string
		f    *fakeTransport
		p    protocol.Protocol
		do   func(l *ranch.Listener, nc net.Conn) // after it has connected
		want eventSummary
	}{
		{"nil", new(fakeTransport), after(nil), nil, eventSummary{Reason: conns.Finished, Served: true, Duration: s}},
		{"an error", new(fakeTransport), after(errTest), nil, eventSummary{Reason: conns.Failed, Served: true, Err: "test error", Duration: s}},
		{"a panic", new(fakeTransport), serve(func(context.Context, *transport.Conn) error { panic("test") }), nil, eventSummary{Reason: conns.Panicked, Served: true, Err: "panic: test"}},
		{"EOF", new(fakeTransport), reads, func(_ *ranch.Listener, nc net.Conn) { nc.Close() }, eventSummary{Reason: conns.PeerClosed, Served: true, Err: "EOF"}},
		{"half a message", new(fakeTransport), serve(func(_ context.Context, conn *transport.Conn) error {
			_, err := io.ReadFull(conn, make([]byte, 2))
			return err
		}), func(_ *ranch.Listener, nc net.Conn) { nc.Write([]byte{1}); nc.Close() }, eventSummary{Reason: conns.PeerClosed, Served: true, Err: "unexpected EOF"}},
		{"a deadline", new(fakeTransport), serve(func(_ context.Context, conn *transport.Conn) error {
			conn.SetReadDeadline(time.Now().Add(s))
			_, err := conn.Read(make([]byte, 1))
			return err
		}), nil, eventSummary{Reason: conns.TimedOut, Served: true, Err: "read pipe: i/o timeout", Duration: s}},
		{"handshake failed", shake(func(context.Context, net.Conn) error { return errTest }), greetAndEcho, nil, eventSummary{Reason: conns.HandshakeFailed, Err: "test error"}},
		{"closed in the handshake", never, greetAndEcho, func(_ *ranch.Listener, nc net.Conn) { nc.Close() }, eventSummary{Reason: conns.HandshakeFailed, Err: "EOF"}},
		{"handshake panicked", shake(func(context.Context, net.Conn) error { panic("test") }), greetAndEcho, nil, eventSummary{Reason: conns.Panicked, Err: "panic: test"}},
		{"handshake timeout", shake(func(ctx context.Context, _ net.Conn) error { <-ctx.Done(); return errTest }), greetAndEcho, nil, eventSummary{Reason: conns.HandshakeTimeout, Err: "context deadline exceeded\ntest error", Duration: 5 * s}},
		{"killed", new(fakeTransport), reads, func(l *ranch.Listener, _ net.Conn) { l.Kill(conns.Query{ID: l.Connections()[0].ID}) }, eventSummary{Reason: conns.Killed, Served: true, Err: "io: read/write on closed pipe"}},
		{"shutdown", new(fakeTransport), reads, func(l *ranch.Listener, _ net.Conn) { l.Stop() }, eventSummary{Reason: conns.Shutdown, Served: true, Err: "read pipe pipe->pipe: the listener is shutting down"}},
		{"aborted", new(fakeTransport), writeUntilClosed, func(l *ranch.Listener, _ net.Conn) { l.Stop() }, eventSummary{Reason: conns.Aborted, Served: true, Err: "io: read/write on closed pipe", Duration: 5 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, rec := startListener(t, c.f, ranch.Options{NumAcceptors: 1}, c.p)
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
				var got []eventSummary
				for _, h := range rec.history(t) {
					if h.Conn != 0 {
						got = append(got, h)
					}
				}
				if diff := cmp.Diff([]eventSummary{{Kind: ranch.ConnStarted, Conn: 1}, c.want}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if n := l.Info().Reasons[c.want.Reason]; n != 1 {
					t.Errorf("Reasons[%q]: got %d, want 1", c.want.Reason, n)
				}
			})
		})
	}
}

// The reason does not depend on the transport, although each has its own errors.
func TestReasonsOverEachTransport(t *testing.T) {
	reads := func(conn *transport.Conn) error { _, err := conn.Read(make([]byte, 1)); return err }
	for _, c := range []struct {
		name string
		f    func(conn *transport.Conn) error
		do   func(nc net.Conn)
		want conns.Reason
	}{
		{"the peer closes", reads, func(nc net.Conn) { nc.Close() }, conns.PeerClosed},
		{"the peer vanishes", reads, func(nc net.Conn) { resetConn(raw(nc)) }, conns.PeerClosed},
		{"the peer reads no more", func(conn *transport.Conn) error { return writeUntilClosed(context.Background(), conn) }, func(nc net.Conn) { resetConn(raw(nc)) }, conns.PeerClosed},
		{"the protocol closes, and reads", func(conn *transport.Conn) error { conn.Close(); return reads(conn) }, nil, conns.Finished},
		{"a deadline", func(conn *transport.Conn) error { conn.SetReadDeadline(time.Unix(1, 0)); return reads(conn) }, nil, conns.TimedOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, m testTransport) {
				l, rec := m.startListener(t, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
					conn.Write([]byte{greeting})
					return c.f(conn)
				}))
				v := m.servedClients(t, l, 1)[0]
				if c.do != nil {
					c.do(v.nc)
				}
				if e := rec.wait(t, ranch.ConnEnded, 1)[0]; e.Reason != c.want {
					t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, c.want)
				}
			})
		})
	}
}

// A client that does not read ends its connection after the send timeout of the transport.
func TestEventOfSendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		ln, err := f.Listen(t.Context(), ":0")
		if err != nil {
			t.Fatal(err)
		}
		_, rec := startListener(t, transport.FromListener(ln), ranch.Options{}, writeUntilClosed)
		nc, err := f.Dial(t.Context(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if e.Reason != conns.SendTimeout || e.Duration != 30*time.Second || !errors.Is(e.Err, transport.ErrSendTimeout) {
			t.Errorf("got reason %v, %v after %v, want %v after %v", e.Reason, e.Err, e.Duration, conns.SendTimeout, 30*time.Second)
		}
	})
}

// When the end of a connection is reported, its slot is free, the counters are updated, and it is
// not listed any more.
func TestEventOfEndIsLast(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var l *ranch.Listener
		listening := make(chan struct{})
		ended := make(chan ranch.Event, 1)
		l, _ = m.startListener(t, ranch.Options{MaxConnections: 1, Observer: func(e ranch.Event) {
			switch e.Kind {
			case ranch.ConnStarted:
				<-listening
				if i := l.Info(); i.ActiveConnections != 1 || i.AllConnections != 1 || len(l.Connections()) != 1 {
					t.Errorf("at the start: got %s, want 1 active connection", pretty(i))
				}
			case ranch.ConnEnded:
				if i := l.Info(); i.ActiveConnections != 0 || i.AllConnections != 0 || i.Terminated != 1 || len(l.Connections()) != 0 {
					t.Errorf("at the end: got %s, want no connection and 1 terminated", pretty(i))
				}
				if _, err := e.Conn.Write([]byte("x")); err == nil {
					t.Error("got an open connection, want a closed one")
				}
				ended <- e
			}
		}}, greetAndEcho)
		close(listening)
		v := m.servedClients(t, l, 1)[0]
		v.checkEcho(t)
		v.close()
		e := receive(t, "the end is reported", ended)
		if st := e.Conn.Stats(); st.BytesRead != 4 || st.BytesWritten != 5 {
			t.Errorf("got %+v, want 4 bytes read and 5 written", st)
		}
	})
}
