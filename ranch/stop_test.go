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

// lingering finishes its work, which takes some time from the moment it is told to end,
// and then sends its last answer.
func lingering(d time.Duration) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		conn.Write([]byte{greeting})
		<-ctx.Done()
		<-time.After(d)
		_, err := conn.Write([]byte("done"))
		return err
	})
}

// How long a stop takes, and how connections end, for each limit and each kind of
// protocol: one that ends when it is told, one that finishes its work first, one that
// takes notice only of its closed socket, and one that takes notice of nothing.
func TestStop(t *testing.T) {
	const s = time.Second
	polite, busy, stubborn := protocol.Protocol(answer), lingering(2*s), protocol.Protocol(untilClosed)
	for _, c := range []struct {
		name   string
		limit  time.Duration
		p      protocol.Protocol // nil: deaf
		takes  time.Duration
		reason conns.Reason
		stuck  bool
	}{
		{"brutal, polite", ranch.BrutalKill, polite, 0, conns.Aborted, false},
		{"brutal, stubborn", ranch.BrutalKill, stubborn, 0, conns.Aborted, false},
		{"brutal, deaf", ranch.BrutalKill, nil, time.Second, conns.Aborted, true},
		{"timed, polite", 5 * s, polite, 0, conns.Shutdown, false},
		{"timed, busy", 5 * s, busy, 2 * s, conns.Shutdown, false},
		{"timed, too busy", 1500 * time.Millisecond, busy, 2 * s, conns.Aborted, false},
		{"timed, stubborn", 5 * s, stubborn, 5 * s, conns.Aborted, false},
		{"timed, deaf", 5 * s, nil, 5*s + time.Second, conns.Aborted, true},
		{"default, stubborn", 0, stubborn, 5 * s, conns.Aborted, false},
		{"infinite, polite", ranch.Infinity, polite, 0, conns.Shutdown, false},
		{"infinite, busy", ranch.Infinity, lingering(10000 * time.Hour), 10000 * time.Hour, conns.Shutdown, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				deaf := newDeaf(t)
				if c.p == nil {
					c.p = deaf
				}
				f := new(fake)
				l, rec := start(t, f, ranch.Options{ShutdownTimeout: c.limit}, c.p)
				in := guests(t, f, dialAddr(l), 3)
				var last [4]byte
				if c.reason == conns.Shutdown && c.takes > 0 {
					go io.ReadFull(in[0].nc, last[:])
					go io.ReadAll(in[1].nc)
					go io.ReadAll(in[2].nc)
				}
				begin := time.Now()
				err := l.Stop()
				if got := time.Since(begin); got != c.takes {
					t.Errorf("it took %v, not %v", got, c.takes)
				}
				var stuck *conns.StuckError
				if errors.As(err, &stuck) != c.stuck || !c.stuck && err != nil {
					t.Errorf("it returned %v", err)
				}
				if c.stuck {
					if len(stuck.Conns) != 3 || !strings.Contains(err.Error(), "3 protocols") || !strings.Contains(err.Error(), "deaf") {
						t.Errorf("it does not name them: %v", err)
					}
					deaf.free()
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
					// Brutality may well catch a polite protocol when it has ended already.
					if e.Reason != c.reason && !(c.limit == ranch.BrutalKill && e.Reason == conns.Shutdown) {
						t.Errorf("a connection ended: %v, not %v", e.Reason, c.reason)
					}
				}
				synctest.Wait()
				if c.reason == conns.Shutdown && c.takes > 0 && string(last[:]) != "done" {
					t.Errorf("the last answer was %q", last)
				}
				stopped := rec.all(ranch.ListenerStopped)
				if len(stopped) != 1 || (stopped[0].Err != nil) != c.stuck {
					t.Errorf("events %q: %v", ranch.ListenerStopped, stopped)
				}
			})
		})
	}
}

// Over every medium too a stop ends connections in each of its ways.
func TestStopOverEach(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  time.Duration
		p      protocol.Protocol
		reason conns.Reason
	}{
		{"brutal", ranch.BrutalKill, untilClosed, conns.Aborted},
		{"timed", 50 * time.Millisecond, untilClosed, conns.Aborted},
		{"timed, polite", time.Hour, answer, conns.Shutdown},
		{"infinite", ranch.Infinity, lingering(50 * time.Millisecond), conns.Shutdown},
	} {
		t.Run(c.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, m medium) {
				l, rec := m.start(t, ranch.Options{ShutdownTimeout: c.limit}, c.p)
				in := m.guests(t, l, 10)
				if err := finish(t, "the stop returns", l.Stop); err != nil {
					t.Fatal(err)
				}
				for _, e := range rec.wait(t, ranch.ConnEnded, 10) {
					if e.Reason != c.reason {
						t.Errorf("a connection ended: %v", e.Reason)
					}
				}
				for _, v := range in {
					v.nc.SetDeadline(time.Now().Add(patience))
					if _, err := io.Copy(io.Discard, v.nc); isTimeout(err) {
						t.Error("a client was not told of the end")
					}
				}
				if err := await(t, "a client is refused", m.visit(t, l).served); err == nil {
					t.Error("somebody answers where the listener was")
				}
			})
		})
	}
}

func isTimeout(err error) bool {
	var ne interface{ Timeout() bool }
	return errors.As(err, &ne) && ne.Timeout()
}

// A protocol that is told to end sees it in both ways, and why.
func TestStopTellsWhy(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		type told struct{ read, cause error }
		got := make(chan told, 1)
		l, _ := m.start(t, ranch.Options{}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
			conn.Write([]byte{greeting})
			conn.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := conn.Read(make([]byte, 1))
			<-ctx.Done()
			conn.SetReadDeadline(time.Time{}) // which does not undo it
			if _, again := conn.Read(make([]byte, 1)); !errors.Is(again, protocol.ErrShutdown) {
				t.Errorf("a later read: %v", again)
			}
			got <- told{err, context.Cause(ctx)}
			return err
		}))
		m.guests(t, l, 1)
		if err := finish(t, "the stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		if g := <-got; !errors.Is(g.read, protocol.ErrShutdown) || g.cause != protocol.ErrShutdown {
			t.Errorf("the read failed with %v, the context's cause is %v", g.read, g.cause)
		}
	})
}

// A protocol that stops its own listener waits for itself: it gets that back as an error,
// when the limit is over.
func TestStopFromInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, got := new(fake), make(chan error, 1)
		var l *ranch.Listener
		l, _ = start(t, f, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
			conn.Write([]byte{greeting})
			got <- l.Stop()
			return nil
		}))
		begin := time.Now()
		guests(t, f, dialAddr(l), 1)
		var stuck *conns.StuckError
		if err := <-got; !errors.As(err, &stuck) || len(stuck.Conns) != 1 {
			t.Errorf("it returned %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second+time.Second {
			t.Errorf("it took %v", took)
		}
		active(t, l, 0)
	})
}

// Of several that stop a listener at once one does it. The others come back when it is
// done, and learn that there is none.
func TestStopsAtOnce(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		s := ranch.Default
		l, _, err := tryStart(t, s, m.t, ranch.Options{Addr: m.addr(t)}, answer)
		if err != nil {
			t.Fatal(err)
		}
		m.guests(t, l, 5)
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
					t.Errorf("a stop returned before the end: %s", pretty(i))
				}
			})
		}
		wg.Wait()
		if stopped.Load() != 1 || unknown.Load() != 9 {
			t.Errorf("%d stopped it, %d found none", stopped.Load(), unknown.Load())
		}
		if err := ranch.StopListener(ref); !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
		if err := l.Stop(); !errors.Is(err, ranch.ErrStopped) {
			t.Errorf("the listener itself once more: %v", err)
		}
	})
}

// Starts and stops of one name at once: each start finds the name taken or free, and in
// the end there is nothing left.
func TestStopsRaceStarts(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		s := ranch.Default
		addr := m.addr(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 20 {
					_, err := s.StartListener(ref, m.t, ranch.Options{Addr: addr, Logger: quiet}, answer)
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
		if got := names(s); got != nil {
			t.Errorf("left: %v", got)
		}
		if _, _, err := tryStart(t, s, m.t, ranch.Options{Addr: addr}, answer); err != nil {
			t.Errorf("starting once more: %v", err)
		}
	})
}

// Thirty times in a row a listener is started on one port, serves, and is stopped, with
// connections that live to the end.
func TestThirtyRoundsOnOnePort(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		s := ranch.Default
		addr := m.addr(t)
		for round := range 30 {
			l, err := s.StartListener(ref, m.t, ranch.Options{Addr: addr, Logger: quiet}, answer)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			addr = dialAddr(l)
			m.guests(t, l, 2)[0].works(t)
			if err := finish(t, "the stop returns", func() error { return ranch.StopListener(ref) }); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	})
}
