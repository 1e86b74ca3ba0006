package ranch_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// After a stop has returned no protocol is called, although clients connect all the time.
func TestNoProtocolCalledAfterStop(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		for range 5 {
			var stopped atomic.Bool
			l, _ := m.startListener(t, ranch.Options{ShutdownTimeout: ranch.BrutalKill}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
				if stopped.Load() {
					t.Error("got a call of a protocol after the stop, want none")
				}
				return greetAndEcho(ctx, conn)
			}))
			var dialing sync.WaitGroup
			addr := dialAddr(l)
			enough := make(chan struct{})
			for range 4 {
				dialing.Go(func() {
					for {
						select {
						case <-enough:
							return
						default:
						}
						if nc, err := m.t.Dial(testContext(t), addr); err == nil {
							nc.Close()
						}
					}
				})
			}
			if err := l.WaitForConnections(testContext(t), ranch.GreaterEqual, 1); err != nil {
				t.Fatal(err)
			}
			if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
				t.Error(err)
			}
			stopped.Store(true)
			if i := l.Info(); i.AllConnections != 0 || i.ActiveConnections != 0 {
				t.Errorf("after the stop: got %s, want no connections", pretty(i))
			}
			close(enough)
			dialing.Wait()
		}
	})
}

// finishAfter returns a protocol that works for d after it was asked to stop, and then sends its
// last answer.
func finishAfter(d time.Duration) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		conn.Write([]byte{greeting})
		<-ctx.Done()
		<-time.After(d)
		_, err := conn.Write([]byte("done"))
		return err
	})
}

// The duration of a stop and the reasons of its connections, for each ShutdownTimeout and each kind
// of protocol: one that returns when asked to stop, one that finishes its work first, one that
// returns when its connection is closed, and one that does not return.
func TestStop(t *testing.T) {
	const s = time.Second
	prompt, busy, ignoring := protocol.Protocol(greetAndEcho), finishAfter(2*s), protocol.Protocol(writeUntilClosed)
	for _, c := range []struct {
		name   string
		limit  time.Duration
		p      protocol.Protocol // nil: blockingProtocol
		takes  time.Duration
		reason conns.Reason
		stuck  bool
	}{
		{"BrutalKill, prompt", ranch.BrutalKill, prompt, 0, conns.Aborted, false},
		{"BrutalKill, ignoring", ranch.BrutalKill, ignoring, 0, conns.Aborted, false},
		{"BrutalKill, stuck", ranch.BrutalKill, nil, time.Second, conns.Aborted, true},
		{"timed, prompt", 5 * s, prompt, 0, conns.Shutdown, false},
		{"timed, busy", 5 * s, busy, 2 * s, conns.Shutdown, false},
		{"timed, too busy", 1500 * time.Millisecond, busy, 2 * s, conns.Aborted, false},
		{"timed, ignoring", 5 * s, ignoring, 5 * s, conns.Aborted, false},
		{"timed, stuck", 5 * s, nil, 5*s + time.Second, conns.Aborted, true},
		{"default, ignoring", 0, ignoring, 5 * s, conns.Aborted, false},
		{"Infinity, prompt", ranch.Infinity, prompt, 0, conns.Shutdown, false},
		{"Infinity, busy", ranch.Infinity, finishAfter(10 * time.Hour), 10 * time.Hour, conns.Shutdown, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				blocking := newBlockingProtocol(t)
				if c.p == nil {
					c.p = blocking
				}
				f := new(fakeTransport)
				l, rec := startListener(t, f, ranch.Options{ShutdownTimeout: c.limit}, c.p)
				in := servedClients(t, f, dialAddr(l), 3)
				var last [4]byte
				if c.reason == conns.Shutdown && c.takes > 0 {
					go io.ReadFull(in[0].nc, last[:])
					go io.ReadAll(in[1].nc)
					go io.ReadAll(in[2].nc)
				}
				begin := time.Now()
				err := l.Stop()
				if got := time.Since(begin); got != c.takes {
					t.Errorf("Stop: got %v, want %v", got, c.takes)
				}
				var stuck *conns.StuckError
				if errors.As(err, &stuck) != c.stuck || !c.stuck && err != nil {
					t.Errorf("Stop: got %v, want a StuckError: %v", err, c.stuck)
				}
				if c.stuck {
					if len(stuck.Conns) != 3 || !strings.Contains(err.Error(), "3 protocols") || !strings.Contains(err.Error(), "blockingProtocol") {
						t.Errorf("got %v, want the names of 3 protocols", err)
					}
					blocking.unblock()
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
					// BrutalKill may close the connection of a protocol that has returned already.
					if e.Reason != c.reason && !(c.limit == ranch.BrutalKill && e.Reason == conns.Shutdown) {
						t.Errorf("got reason %v, want %v", e.Reason, c.reason)
					}
				}
				synctest.Wait()
				if c.reason == conns.Shutdown && c.takes > 0 && string(last[:]) != "done" {
					t.Errorf("last answer: got %q, want done", last)
				}
				stopped := rec.ofKind(ranch.ListenerStopped)
				if len(stopped) != 1 || (stopped[0].Err != nil) != c.stuck {
					t.Errorf("events %q: got %v, want 1, with an error: %v", ranch.ListenerStopped, stopped, c.stuck)
				}
			})
		})
	}
}

// A stop ends connections in each of its ways over every transport.
func TestStopOverEachTransport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		limit  time.Duration
		p      protocol.Protocol
		reason conns.Reason
	}{
		{"BrutalKill", ranch.BrutalKill, writeUntilClosed, conns.Aborted},
		{"timed", 50 * time.Millisecond, writeUntilClosed, conns.Aborted},
		{"timed, prompt", time.Hour, greetAndEcho, conns.Shutdown},
		{"Infinity", ranch.Infinity, finishAfter(50 * time.Millisecond), conns.Shutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, m testTransport) {
				l, rec := m.startListener(t, ranch.Options{ShutdownTimeout: c.limit}, c.p)
				in := m.servedClients(t, l, 10)
				if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
					t.Fatal(err)
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, 10) {
					if e.Reason != c.reason {
						t.Errorf("got reason %v, want %v", e.Reason, c.reason)
					}
				}
				for _, v := range in {
					v.nc.SetDeadline(time.Now().Add(testTimeout))
					if _, err := io.Copy(io.Discard, v.nc); isTimeout(err) {
						t.Error("the connection of a client was not closed")
					}
				}
				if err := receive(t, "the client is refused", m.newClient(t, l).served); err == nil {
					t.Error("got a client served at the address of a stopped listener, want none")
				}
			})
		})
	}
}

func isTimeout(err error) bool {
	var ne interface{ Timeout() bool }
	return errors.As(err, &ne) && ne.Timeout()
}

// A protocol that is asked to stop sees it in its reads and in its context, with the cause.
func TestStopCause(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		type stopSeen struct{ read, cause error }
		got := make(chan stopSeen, 1)
		l, _ := m.startListener(t, ranch.Options{}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.Write([]byte{greeting})
			conn.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := conn.Read(make([]byte, 1))
			<-ctx.Done()
			conn.SetReadDeadline(time.Time{}) // does not undo it
			if _, again := conn.Read(make([]byte, 1)); !errors.Is(again, protocol.ErrShutdown) {
				t.Errorf("later read: got %v, want %v", again, protocol.ErrShutdown)
			}
			got <- stopSeen{err, context.Cause(ctx)}
			return err
		}))
		m.servedClients(t, l, 1)
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		if g := <-got; !errors.Is(g.read, protocol.ErrShutdown) || g.cause != protocol.ErrShutdown {
			t.Errorf("got read error %v, cause %v, want %v", g.read, g.cause, protocol.ErrShutdown)
		}
	})
}

// A protocol that stops its own listener waits for itself: Stop returns an error after the
// ShutdownTimeout.
func TestStopFromInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, got := new(fakeTransport), make(chan error, 1)
		var l *ranch.Listener
		l, _ = startListener(t, f, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			conn.Write([]byte{greeting})
			got <- l.Stop()
			return nil
		}))
		begin := time.Now()
		servedClients(t, f, dialAddr(l), 1)
		var stuck *conns.StuckError
		if err := <-got; !errors.As(err, &stuck) || len(stuck.Conns) != 1 {
			t.Errorf("Stop: got %v, want a StuckError with 1 connection", err)
		}
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("Stop: got %v, want %v", took, 6*time.Second)
		}
		synctest.Wait() // the protocol returns after Stop
	})
}

// Of several concurrent stops by name one stops the listener. The others return when that is done,
// with ErrNotFound.
func TestConcurrentStops(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		s := ranch.Default
		l, _, err := tryStartListener(t, s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		m.servedClients(t, l, 5)
		var stopped, unknown atomic.Int32
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				stop := func() error { return ranch.StopListener(ref) }
				if i%2 == 1 {
					stop = func() error { return s.Drain(context.Background(), ref) }
				}
				switch err := stop(); {
				case err == nil:
					stopped.Add(1)
				case errors.Is(err, ranch.ErrNotFound):
					unknown.Add(1)
				default:
					t.Error(err)
				}
				if i := l.Info(); i.Status != ranch.Stopped || i.AllConnections != 0 {
					t.Errorf("after a stop: got %s, want a stopped listener", pretty(i))
				}
			})
		}
		wg.Wait()
		if stopped.Load() != 1 || unknown.Load() != 9 {
			t.Errorf("got %d stops and %d errors, want 1 and 9", stopped.Load(), unknown.Load())
		}
		if err := ranch.StopListener(ref); !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("later stop by name: got %v, want %v", err, ranch.ErrNotFound)
		}
		if err := l.Stop(); !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("later stop: got %v, want %v", err, ranch.ErrStopped)
		}
	})
}

// Concurrent starts and stops of one name find it taken or free, and leave nothing.
func TestStopsRaceStarts(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		s := ranch.Default
		addr := m.addr(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 20 {
					_, err := s.StartListener(ref, m.t, ranch.Options{Addr: addr, Logger: discardLogger}, greetAndEcho)
					if err != nil && !errors.Is(err, ranch.ErrAlreadyStarted) {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 20 {
					if err := ranch.StopListener(ref); err != nil && !errors.Is(err, ranch.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		ranch.StopListener(ref)
		if got := listenerNames(s); got != nil {
			t.Errorf("got listeners %v, want none", got)
		}
		if _, _, err := tryStartListener(t, s, m.t, ranch.Options{Addr: addr}, greetAndEcho); err != nil {
			t.Errorf("last start: got %v, want nil", err)
		}
	})
}

// A listener is started, serves and is stopped thirty times on one port, with live connections.
func TestThirtyRoundsOnOnePort(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		s := ranch.Default
		addr := m.addr(t)
		for round := range 30 {
			l, err := s.StartListener(ref, m.t, ranch.Options{Addr: addr, Logger: discardLogger}, greetAndEcho)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			addr = dialAddr(l)
			m.servedClients(t, l, 2)[0].checkEcho(t)
			if err := callWithTimeout(t, "StopListener returns", func() error { return ranch.StopListener(ref) }); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	})
}
