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

// requestServer answers each request with a long answer when proceed is closed.
type requestServer struct {
	started chan struct{} // has a value for each request
	proceed chan struct{} // nil: the connection is asked to stop
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

// A request that is in progress when the listener stops is answered completely, and then the
// connection ends in order, also when the client has sent more that the protocol does not read.
func TestLastAnswerIsReceived(t *testing.T) {
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
					receive(t, "the request is in progress", w.started)
					if _, err := v.nc.Write(make([]byte, ahead/100)); err != nil { // arrives before the stop
						t.Fatal(err)
					}
					wg.Go(func() { v.nc.Write(make([]byte, ahead)) }) // blocks when the buffers are full
				}
				stopped := make(chan error, 1)
				go func() { stopped <- l.Stop() }()
				for i, v := range in {
					got, err := io.ReadAll(v.nc)
					v.close()
					if m.name == "mem" && ahead > 0 && errors.Is(err, syscall.ECONNRESET) {
						err = nil // as over TCP, but it does not overtake the answer
					}
					if err != nil || !bytes.Equal(got, longAnswer) {
						t.Errorf("client %d: got %d bytes, %v, want %d", i, len(got), err, len(longAnswer))
					}
				}
				if err := receive(t, "Stop returns", stopped); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Drain stops the named listeners and lets their connections finish; other listeners go on.
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
		receive(t, "the request is in progress", w.started)
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(testContext(t), ref) }()
		if _, err := io.ReadAll(idle.nc); err != nil { // it ends at once
			t.Errorf("idle client: got %v, want nil", err)
		}
		rec.wait(t, ranch.ConnEnded, 1)
		if i := l.Info(); i.Status != ranch.Stopping || i.AllConnections != 1 {
			t.Errorf("during the drain: got %s, want 1 connection of a stopping listener", pretty(i))
		}
		close(w.proceed)
		if got, err := io.ReadAll(busy.nc); err != nil || !bytes.Equal(got, longAnswer) {
			t.Errorf("busy client: got %d bytes, %v, want %d", len(got), err, len(longAnswer))
		}
		if err := receive(t, "Drain returns", drained); err != nil {
			t.Error(err)
		}
		elsewhere.checkEcho(t)
		if diff := cmp.Diff([]string{"other"}, listenerNames(&s)); diff != "" {
			t.Errorf("listeners (-want +got):\n%s", diff)
		}
	})
}

// Without names Drain stops all listeners concurrently, in the time of the slowest.
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
			t.Errorf("Drain: got %v, want 4s", got)
		}
		if got := s.Listeners(); got != nil {
			t.Errorf("got listeners %v, want none", got)
		}
		if left := f.openAddrs(); left != nil {
			t.Errorf("got open addresses %v, want none", left)
		}
	})
}

// Drain waits for connections until its context ends, whatever the ShutdownTimeout.
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
				t.Errorf("ShutdownTimeout %v: got a drain of %v, want 7s", limit, got)
			}
			for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
				if e.Reason != conns.Aborted {
					t.Errorf("got reason %v, want %v", e.Reason, conns.Aborted)
				}
			}
		})
	}
}

// Drain reports every fault: unknown names, and protocols that do not return.
func TestDrainReportsEveryFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s ranch.Server
		f, blocking := new(fakeTransport), newBlockingProtocol(t)
		for _, name := range []string{"a", "b"} {
			l, err := s.StartListener(name, f, ranch.Options{Logger: discardLogger}, blocking)
			if err != nil {
				t.Fatal(err)
			}
			servedClients(t, f, dialAddr(l), 1)
		}
		err := s.Drain(cancelledContext, "a", "b", "c")
		var stuck *conns.StuckError
		if !errors.As(err, &stuck) || !errors.Is(err, ranch.ErrNotFound) {
			t.Errorf("Drain: got %v, want a StuckError and %v", err, ranch.ErrNotFound)
		}
		for _, want := range []string{"stop a: 1 protocols", "stop b: 1 protocols", "stop c: "} {
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
				t.Errorf("got %v, want it to contain %q", err, want)
			}
		}
		if got := s.Listeners(); got != nil {
			t.Errorf("got listeners %v, want none", got)
		}
	})
}

// A drain serves the clients that have connected, also those in the kernel's queue.
func TestDrainServesTheQueue(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows cannot tell whether connections are queued")
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
					t.Errorf("got %q, %v, want the greeting", got, err)
				}
			}
			if err := receive(t, "Drain returns", done); err != nil {
				t.Error(err)
			}
			if i := l.Info(); i.Served != 5 || i.PeakConnections != 1 {
				t.Errorf("got %s, want 5 served and a peak of 1", pretty(i))
			}
		})
	}
}

// A drain at the cap does not wait for slots until its context ends.
func TestDrainWithAFullQueue(t *testing.T) {
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 1, ShutdownTimeout: 50 * time.Millisecond}, greetAndEcho)
	servedClients(t, transport.TCP{}, dialAddr(l), 1)
	newClient(t, transport.TCP{}, dialAddr(l))
	if err := callWithTimeout(t, "Drain returns", func() error { return l.Drain(testContext(t)) }); err != nil {
		t.Error(err)
	}
}
