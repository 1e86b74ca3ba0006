package ranch_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/ranch"
)

// An acceptor that panics is restarted, five times at once and then once a second. Live connections
// go on, and all clients are served.
func TestAcceptorPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 12
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 1, MaxConnections: 3}, greetAndEcho)
		before := servedClients(t, f, dialAddr(l), 1)[0]
		begin := time.Now()
		var panicked []time.Duration
		f.lastListener().addScript(repeated(n, func() error {
			panicked = append(panicked, time.Since(begin))
			panic(errTest)
		})...)
		synctest.Wait()
		before.checkEcho(t)
		servedClients(t, f, dialAddr(l), 2)
		newClient(t, f, dialAddr(l))
		synctest.Wait()
		if got := f.lastListener().queued(); got != 1 {
			t.Errorf("got %d clients in the queue, want 1", got)
		}
		s := time.Second
		// After five seconds the first panics no longer count, and restarts are immediate again.
		want := []time.Duration{0, 0, 0, 0, 0, 0, 1 * s, 2 * s, 3 * s, 4 * s, 5 * s, 5 * s}
		if diff := cmp.Diff(want, panicked); diff != "" {
			t.Errorf("times of panics (-want +got):\n%s", diff)
		}
		events := rec.ofKind(ranch.AcceptorPanicked)
		if len(events) != n {
			t.Fatalf("got %d events %q, want %d", len(events), ranch.AcceptorPanicked, n)
		}
		var p *protocol.PanicError
		if !errors.As(events[0].Err, &p) || !errors.Is(p, errTest) || len(p.Stack) == 0 {
			t.Errorf("got error %#v, want a PanicError with a stack", events[0].Err)
		}
		if n := rec.count(ranch.AcceptorStopped); n != 0 {
			t.Errorf("got %d acceptors stopped, want 0", n)
		}
	})
}

// A stop does not wait for the restart pause of an acceptor.
func TestStopWhileAcceptorsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTransport{script: repeated(1000, panicWith("again"))}
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 4}, greetAndEcho)
		time.Sleep(2500 * time.Millisecond)
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 0 {
			t.Errorf("Stop: got %v, want 0", got)
		}
		if n := rec.count(ranch.AcceptorStopped); n != 4 {
			t.Errorf("got %d acceptors stopped, want 4", n)
		}
	})
}

// A transport whose Listen panics while a closed socket is reopened does not cost or add a slot.
func TestPanicWhileReopeningKeepsTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTransport{listen: func(n int) error {
			if n == 2 || n == 3 {
				panic("no listener today")
			}
			return nil
		}}
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 2, NumAcceptors: 3}, greetAndEcho)
		synctest.Wait()
		f.lastListener().Close()
		synctest.Wait()
		if got := rec.count(ranch.AcceptorPanicked); got != 2 {
			t.Errorf("got %d acceptor panics, want 2", got)
		}
		servedClients(t, f, dialAddr(l), 2)
		for range 3 {
			newClient(t, f, dialAddr(l))
		}
		synctest.Wait()
		if got := f.lastListener().queued(); got != 3 {
			t.Errorf("got %d clients in the queue, want 3: %s", got, pretty(l.Info()))
		}
		if got := l.Info().WaitingAcceptors; got != 3 {
			t.Errorf("got %d waiting acceptors, want 3", got)
		}
	})
}
