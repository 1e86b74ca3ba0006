package ranch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// worker answers a request with a long answer, once it is allowed to.
type worker struct {
	busy    chan struct{} // somebody has begun
	proceed chan struct{} // nil: when it is told to end
}

func newWorker() *worker { return &worker{make(chan struct{}, 1000), make(chan struct{})} }

var longAnswer = bytes.Repeat([]byte("0123456789abcdef"), 16<<10)

func (w *worker) Serve(ctx context.Context, conn *transport.Conn) error {
	conn.Write([]byte{greeting})
	for ctx.Err() == nil {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			return err
		}
		w.busy <- struct{}{}
		if w.proceed == nil {
			<-ctx.Done()
		} else {
			<-w.proceed
		}
		if _, err := conn.Write(longAnswer); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// A request that is being worked on when the stop comes is answered in full, and then
// the connection ends in order: also when the client has sent more that nobody will read.
func TestLastAnswerArrives(t *testing.T) {
	for _, ahead := range []int{0, 100_000} {
		t.Run(fmt.Sprintf("%d bytes ahead", ahead), func(t *testing.T) {
			overEach(t, func(t *testing.T, m medium) {
				w := newWorker()
				w.proceed = nil
				l, _ := m.start(t, ranch.Options{ShutdownTimeout: ranch.Infinity}, w)
				const n = 5
				in := m.guests(t, l, n)
				var wg sync.WaitGroup
				defer wg.Wait()
				for _, v := range in {
					v.nc.SetDeadline(time.Now().Add(patience))
					if _, err := v.nc.Write([]byte("work")); err != nil {
						t.Fatal(err)
					}
					await(t, "the work begins", w.busy)
					if _, err := v.nc.Write(make([]byte, ahead/100)); err != nil { // has arrived now
						t.Fatal(err)
					}
					wg.Go(func() { v.nc.Write(make([]byte, ahead)) }) // as much as there is room for
				}
				stopped := make(chan error, 1)
				go func() { stopped <- l.Stop() }()
				for i, v := range in {
					got, err := io.ReadAll(v.nc)
					v.leave()
					if m.name == "mem" && ahead > 0 && errors.Is(err, syscall.ECONNRESET) {
						err = nil // its end is no better than TCP's, but overtakes nothing
					}
					if err != nil || !bytes.Equal(got, longAnswer) {
						t.Errorf("client %d got %d of %d bytes, %v", i, len(got), len(longAnswer), err)
					}
				}
				if err := await(t, "the stop returns", stopped); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Drain ends the listeners that it names, and lets their connections finish; the others
// go on.
func TestDrainOne(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		var s ranch.Server
		w := newWorker()
		l, rec, err := tryStart(t, &s, m.t, ranch.Options{Addr: m.addr(t), ShutdownTimeout: ranch.BrutalKill}, w)
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.StartListener("other", m.t, ranch.Options{Addr: m.addr(t), Logger: quiet}, answer)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Drain(over) })
		busy, idle, elsewhere := m.guests(t, l, 1)[0], m.guests(t, l, 1)[0], m.guests(t, other, 1)[0]
		busy.nc.Write([]byte("work"))
		await(t, "the work begins", w.busy)
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(within(t), ref) }()
		if _, err := io.ReadAll(idle.nc); err != nil { // it ends at once
			t.Errorf("an idle client: %v", err)
		}
		rec.wait(t, ranch.ConnEnded, 1)
		if i := l.Info(); i.Status != ranch.Stopping || i.AllConnections != 1 {
			t.Errorf("while one is busy: %s", pretty(i))
		}
		close(w.proceed)
		if got, err := io.ReadAll(busy.nc); err != nil || !bytes.Equal(got, longAnswer) {
			t.Errorf("a busy client got %d bytes, %v", len(got), err)
		}
		if err := await(t, "the drain returns", drained); err != nil {
			t.Error(err)
		}
		elsewhere.works(t)
		if diff := cmp.Diff([]string{"other"}, names(&s)); diff != "" {
			t.Errorf("listeners (-want +got):\n%s", diff)
		}
	})
}

// Without names Drain ends all listeners, side by side, in the time of the slowest.
func TestDrainAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s ranch.Server
		f := new(fake)
		for i := range 5 {
			l, err := s.StartListener(fmt.Sprint(i), f, ranch.Options{Logger: quiet}, lingering(time.Duration(i)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range guests(t, f, dialAddr(l), 2) {
				go io.ReadAll(v.nc)
			}
		}
		begin := time.Now()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if got := time.Since(begin); got != 4*time.Second {
			t.Errorf("it took %v", got)
		}
		if got := s.Listeners(); got != nil {
			t.Errorf("left: %v", got)
		}
		if left := f.left(); left != nil {
			t.Errorf("still open: %v", left)
		}
	})
}

// The end of the context is the limit for the connections, whatever the ShutdownTimeout.
func TestDrainHasALimit(t *testing.T) {
	for _, limit := range []time.Duration{ranch.BrutalKill, time.Second, ranch.Infinity} {
		synctest.Test(t, func(t *testing.T) {
			f := new(fake)
			l, rec := start(t, f, ranch.Options{ShutdownTimeout: limit}, untilClosed)
			guests(t, f, dialAddr(l), 3)
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			begin := time.Now()
			if err := l.Drain(ctx); err != nil {
				t.Error(err)
			}
			if got := time.Since(begin); got != 7*time.Second {
				t.Errorf("with a ShutdownTimeout of %v it took %v", limit, got)
			}
			for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
				if e.Reason != conns.Aborted {
					t.Errorf("a connection ended: %v", e.Reason)
				}
			}
		})
	}
}

// Every fault of a drain is told: names that nobody has, protocols that do not end.
func TestDrainTellsEveryFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s ranch.Server
		f, deaf := new(fake), newDeaf(t)
		for _, name := range []string{"a", "b"} {
			l, err := s.StartListener(name, f, ranch.Options{Logger: quiet}, deaf)
			if err != nil {
				t.Fatal(err)
			}
			guests(t, f, dialAddr(l), 1)
		}
		err := s.Drain(over, "a", "b", "c")
		var stuck *conns.StuckError
		if !errors.As(err, &stuck) || !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("it returned %v", err)
		}
		for _, want := range []string{"stop a: 1 protocols", "stop b: 1 protocols", "stop c: "} {
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
		if got := s.Listeners(); got != nil {
			t.Errorf("left: %v", got)
		}
	})
}

// Nobody slips in behind a stop: after it has returned no protocol begins, though clients
// came all the time.
func TestNobodySlipsInBehindAStop(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		for range 5 {
			var stopped atomic.Bool
			l, _ := m.start(t, ranch.Options{ShutdownTimeout: ranch.BrutalKill}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
				if stopped.Load() {
					t.Error("a protocol began after the stop")
				}
				return answer(ctx, conn)
			}))
			var coming sync.WaitGroup
			addr := dialAddr(l)
			enough := make(chan struct{})
			for range 4 {
				coming.Go(func() {
					for {
						select {
						case <-enough:
							return
						default:
						}
						if nc, err := m.t.Dial(within(t), addr); err == nil {
							nc.Close()
						}
					}
				})
			}
			if err := l.WaitForConnections(within(t), ranch.GreaterEqual, 1); err != nil {
				t.Fatal(err)
			}
			if err := finish(t, "the stop returns", l.Stop); err != nil {
				t.Error(err)
			}
			stopped.Store(true)
			if i := l.Info(); i.AllConnections != 0 || i.ActiveConnections != 0 {
				t.Errorf("after the stop: %s", pretty(i))
			}
			close(enough)
			coming.Wait()
		}
	})
}

// A hundred connections killed at once leave the listener whole, and their slots free.
func TestStampede(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		n := m.many(100)
		l, rec := m.start(t, ranch.Options{MaxConnections: n}, answer)
		for round := 1; round <= 2; round++ {
			m.guests(t, l, n)
			allParked(t, l)
			var wg sync.WaitGroup
			for _, c := range l.Connections() {
				wg.Go(func() {
					if !l.Kill(c.ID) {
						t.Errorf("connection %d was not there", c.ID)
					}
				})
			}
			wg.Wait()
			rec.wait(t, ranch.ConnEnded, n*round)
			active(t, l, 0)
			if diff := cmp.Diff(map[conns.Reason]uint64{conns.Killed: uint64(n * round)}, l.Info().Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		}
		m.guests(t, l, n)[0].works(t)
	})
}

// A new protocol is for connections that are accepted from then on.
func TestSetProtocol(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		var s ranch.Server
		l, _, err := tryStart(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, answer)
		if err != nil {
			t.Fatal(err)
		}
		before := m.guests(t, l, 2)
		next := newWorker()
		if err := l.SetProtocol(next); err != nil {
			t.Fatal(err)
		}
		if got := l.Protocol(); got != protocol.Protocol(next) {
			t.Errorf("got protocol %v, want %v", got, next)
		}
		for _, v := range before {
			v.works(t)
		}
		after := m.guests(t, l, 1)[0]
		after.nc.Write([]byte("work"))
		await(t, "the new protocol serves", next.busy)
		close(next.proceed)
		for _, c := range l.Connections()[:2] {
			if _, old := c.Protocol.(protocol.Func); !old {
				t.Errorf("an old connection has %T", c.Protocol)
			}
		}
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil { // it stays through these
			t.Fatal(err)
		}
		if got := l.Protocol(); got != protocol.Protocol(next) {
			t.Errorf("after a resume the protocol is %T", got)
		}
		if err := l.SetProtocol(nil); !errors.Is(err, ranch.ErrBadOption) || l.Protocol() == nil {
			t.Errorf("no protocol at all: %v", err)
		}
	})
}

// Who has connected when a drain begins is served, also if he still waits in the kernel's
// queue.
func TestDrainServesTheQueue(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: Windows cannot tell whether somebody waits")
	}
	for _, addr := range []func(testing.TB) string{loopback, socketFile} {
		t.Run(addr(t), func(t *testing.T) {
			proceed := make(chan struct{})
			l, _ := start(t, transport.TCP{}, ranch.Options{Addr: addr(t), MaxConnections: 1}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
				<-proceed
				_, err := conn.Write([]byte{greeting})
				return err
			}))
			var queue []net.Conn
			for range 5 {
				nc, err := transport.TCP{}.Dial(within(t), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				queue = append(queue, nc)
			}
			done := make(chan error, 1)
			go func() { done <- l.Drain(within(t)) }()
			close(proceed)
			for _, nc := range queue {
				nc.SetReadDeadline(time.Now().Add(patience))
				if got, err := io.ReadAll(nc); string(got) != string(greeting) || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
			if err := await(t, "the drain ends", done); err != nil {
				t.Error(err)
			}
			if i := l.Info(); i.Served != 5 || i.PeakConnections != 1 {
				t.Errorf("in the end: %s", pretty(i))
			}
		})
	}
}

// At a cap that never makes room the drain goes on nevertheless, and its end is not waited for.
func TestDrainWithAFullQueue(t *testing.T) {
	l, _ := start(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 1, ShutdownTimeout: 50 * time.Millisecond}, answer)
	guests(t, transport.TCP{}, dialAddr(l), 1)
	visit(t, transport.TCP{}, dialAddr(l))
	if err := finish(t, "the drain ends", func() error { return l.Drain(within(t)) }); err != nil {
		t.Error(err)
	}
}
