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
type requestServer struct {
	started chan struct{} // somebody has begun
	proceed chan struct{} // nil: when it is told to end
}

func newRequestServer() *requestServer {
	return &requestServer{make(chan struct{}, 1000), make(chan struct{})}
}

var longAnswer = bytes.Repeat([]byte("0123456789abcdef"), 16<<10)

func (w *requestServer) Serve(ctx context.Context, conn *transport.Conn) error {
	conn.Write([]byte{greeting})
	for ctx.Err() == nil {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			return err
		}
		w.started <- struct{}{}
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
			forEachTransport(t, func(t *testing.T, m testTransport) {
				w := newRequestServer()
				w.proceed = nil
				l, _ := m.startListener(t, ranch.Options{ShutdownTimeout: ranch.Infinity}, w)
				const n = 5
				in := m.servedClients(t, l, n)
				var wg sync.WaitGroup
				defer wg.Wait()
				for _, v := range in {
					v.nc.SetDeadline(time.Now().Add(testTimeout))
					if _, err := v.nc.Write([]byte("work")); err != nil {
						t.Fatal(err)
					}
					receive(t, "the work begins", w.started)
					if _, err := v.nc.Write(make([]byte, ahead/100)); err != nil { // has arrived now
						t.Fatal(err)
					}
					wg.Go(func() { v.nc.Write(make([]byte, ahead)) }) // as much as there is room for
				}
				stopped := make(chan error, 1)
				go func() { stopped <- l.Stop() }()
				for i, v := range in {
					got, err := io.ReadAll(v.nc)
					v.close()
					if m.name == "mem" && ahead > 0 && errors.Is(err, syscall.ECONNRESET) {
						err = nil // its end is no better than TCP's, but overtakes nothing
					}
					if err != nil || !bytes.Equal(got, longAnswer) {
						t.Errorf("client %d got %d of %d bytes, %v", i, len(got), len(longAnswer), err)
					}
				}
				if err := receive(t, "the stop returns", stopped); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Drain ends the listeners that it names, and lets their connections finish; the others
// go on.
func TestDrainOne(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		w := newRequestServer()
		l, rec, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t), ShutdownTimeout: ranch.BrutalKill}, w)
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.StartListener("other", m.t, ranch.Options{Addr: m.addr(t), Logger: discardLogger}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Drain(cancelledContext) })
		busy, idle, elsewhere := m.servedClients(t, l, 1)[0], m.servedClients(t, l, 1)[0], m.servedClients(t, other, 1)[0]
		busy.nc.Write([]byte("work"))
		receive(t, "the work begins", w.started)
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(testContext(t), ref) }()
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
		if err := receive(t, "the drain returns", drained); err != nil {
			t.Error(err)
		}
		elsewhere.checkEcho(t)
		if diff := cmp.Diff([]string{"other"}, listenerNames(&s)); diff != "" {
			t.Errorf("listeners (-want +got):\n%s", diff)
		}
	})
}

// Without names Drain ends all listeners, side by side, in the time of the slowest.
func TestDrainAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s ranch.Server
		f := new(fakeTransport)
		for i := range 5 {
			l, err := s.StartListener(fmt.Sprint(i), f, ranch.Options{Logger: discardLogger}, finishAfter(time.Duration(i)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range servedClients(t, f, dialAddr(l), 2) {
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
		if left := f.openAddrs(); left != nil {
			t.Errorf("still open: %v", left)
		}
	})
}

// The end of the context is the limit for the connections, whatever the ShutdownTimeout.
func TestDrainHasALimit(t *testing.T) {
	for _, limit := range []time.Duration{ranch.BrutalKill, time.Second, ranch.Infinity} {
		synctest.Test(t, func(t *testing.T) {
			f := new(fakeTransport)
			l, rec := startListener(t, f, ranch.Options{ShutdownTimeout: limit}, writeUntilClosed)
			servedClients(t, f, dialAddr(l), 3)
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
		f, deaf := new(fakeTransport), newBlockingProtocol(t)
		for _, name := range []string{"a", "b"} {
			l, err := s.StartListener(name, f, ranch.Options{Logger: discardLogger}, deaf)
			if err != nil {
				t.Fatal(err)
			}
			servedClients(t, f, dialAddr(l), 1)
		}
		err := s.Drain(cancelledContext, "a", "b", "c")
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
	forEachTransport(t, func(t *testing.T, m testTransport) {
		for range 5 {
			var stopped atomic.Bool
			l, _ := m.startListener(t, ranch.Options{ShutdownTimeout: ranch.BrutalKill}, protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
				if stopped.Load() {
					t.Error("a protocol began after the stop")
				}
				return greetAndEcho(ctx, conn)
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
						if nc, err := m.t.Dial(testContext(t), addr); err == nil {
							nc.Close()
						}
					}
				})
			}
			if err := l.WaitForConnections(testContext(t), ranch.GreaterEqual, 1); err != nil {
				t.Fatal(err)
			}
			if err := callWithTimeout(t, "the stop returns", l.Stop); err != nil {
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
	forEachTransport(t, func(t *testing.T, m testTransport) {
		n := m.scale(100)
		l, rec := m.startListener(t, ranch.Options{MaxConnections: n}, greetAndEcho)
		for round := 1; round <= 2; round++ {
			m.servedClients(t, l, n)
			waitAllWaiting(t, l)
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
			waitActive(t, l, 0)
			if diff := cmp.Diff(map[conns.Reason]uint64{conns.Killed: uint64(n * round)}, l.Info().Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		}
		m.servedClients(t, l, n)[0].checkEcho(t)
	})
}

// A new protocol is for connections that are accepted from then on.
func TestSetProtocol(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		l, _, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		before := m.servedClients(t, l, 2)
		next := newRequestServer()
		if err := l.SetProtocol(next); err != nil {
			t.Fatal(err)
		}
		if got := l.Info().Protocol; got != protocol.Protocol(next) {
			t.Errorf("got protocol %v, want %v", got, next)
		}
		for _, v := range before {
			v.checkEcho(t)
		}
		after := m.servedClients(t, l, 1)[0]
		after.nc.Write([]byte("work"))
		receive(t, "the new protocol serves", next.started)
		close(next.proceed)
		for _, c := range l.Connections()[:2] {
			if _, old := c.Protocol.(protocol.Func); !old {
				t.Errorf("an old connection has %T", c.Protocol)
			}
		}
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil { // it stays through these
			t.Fatal(err)
		}
		if got := l.Info().Protocol; got != protocol.Protocol(next) {
			t.Errorf("after a resume the protocol is %T", got)
		}
		if err := l.SetProtocol(nil); !errors.Is(err, ranch.ErrBadOption) || l.Info().Protocol == nil {
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
	for _, addr := range []func(testing.TB) string{loopbackAddr, unixAddr} {
		t.Run(addr(t), func(t *testing.T) {
			proceed := make(chan struct{})
			l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: addr(t), MaxConnections: 1}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
				<-proceed
				_, err := conn.Write([]byte{greeting})
				return err
			}))
			var queue []net.Conn
			for range 5 {
				nc, err := transport.TCP{}.Dial(testContext(t), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				queue = append(queue, nc)
			}
			done := make(chan error, 1)
			go func() { done <- l.Drain(testContext(t)) }()
			close(proceed)
			for _, nc := range queue {
				nc.SetReadDeadline(time.Now().Add(testTimeout))
				if got, err := io.ReadAll(nc); string(got) != string(greeting) || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}
			if err := receive(t, "the drain ends", done); err != nil {
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
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 1, ShutdownTimeout: 50 * time.Millisecond}, greetAndEcho)
	servedClients(t, transport.TCP{}, dialAddr(l), 1)
	newClient(t, transport.TCP{}, dialAddr(l))
	if err := callWithTimeout(t, "the drain ends", func() error { return l.Drain(testContext(t)) }); err != nil {
		t.Error(err)
	}
}
