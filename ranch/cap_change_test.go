package ranch_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/ranch"
)

// Interrupts of accept by changes of the cap do not count as accept errors.
func TestCapChangesAreNoAcceptErrors(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{}, greetAndEcho)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for i := range 2000 {
					l.SetMaxConnections(i % 2 * 10)
				}
			})
		}
		wg.Wait()
		l.SetMaxConnections(10)
		for _, v := range m.servedClients(t, l, 10) {
			v.checkEcho(t)
		}
		if n := l.Info().AcceptErrors; n != 0 {
			t.Errorf("got %d accept errors, events %v, want none", n, rec.ofKind(ranch.AcceptFailed))
		}
	})
}

// While clients connect and several goroutines change the cap without a pause, no client is
// refused, every client is served, and the last cap holds.
func TestCapChangesUnderLoad(t *testing.T) {
	for _, highest := range []int{20, ranch.Unlimited} {
		forEachTransport(t, func(t *testing.T, m testTransport) {
			clients := m.scale(200)
			l, _ := m.startListener(t, ranch.Options{MaxConnections: highest}, greetAndReturn('!'))
			all := newClients(t, m, l, clients)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i, caps := range [][]int{{0, 7, 1}, {3, highest, 0}} {
				wg.Go(func() {
					for n := i; ; n++ {
						select {
						case <-stop:
							return
						default:
							l.SetMaxConnections(caps[n%len(caps)])
							runtime.Gosched()
						}
					}
				})
			}
			for _, v := range all {
				v.waitServed(t)
			}
			close(stop)
			wg.Wait()
			setCap(t, l, 5)
			l.SetProtocol(greetAndEcho)
			waitActive(t, l, 0)
			m.servedClients(t, l, 5)
			waitAllWaiting(t, l)
			if i := l.Info(); i.Accepted != uint64(clients)+5 || i.PeakConnections > highest || i.AcceptErrors != 0 || i.Refused != 0 {
				t.Errorf("got %s, want %d accepted and a peak of at most %d", pretty(i), clients+5, highest)
			}
		})
	}
}

// Also where listeners have no deadlines, a connection that is accepted at the moment when the cap
// is lowered waits for a slot. It is neither served above the cap nor lost.
func TestAcceptedWhileTheCapIsLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTransport{noDeadline: true}
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 2}, greetAndEcho)
		synctest.Wait() // both acceptors are in accept and cannot be interrupted
		setCap(t, l, 0)
		pending := []*client{newClient(t, f, dialAddr(l)), newClient(t, f, dialAddr(l))}
		synctest.Wait()
		if i := l.Info(); i.Accepted != 0 || !pending[0].waiting() || !pending[1].waiting() || f.lastListener().queued() != 0 {
			t.Fatalf("at a cap of 0: got %s, want 2 pending clients", pretty(i))
		}
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		setCap(t, l, 1)
		first, pending := waitAnyServed(t, pending)
		first.checkEcho(t)
		synctest.Wait()
		if i := l.Info(); i.Accepted != 1 || !pending[0].waiting() {
			t.Fatalf("at a cap of 1: got %s, want 1 accepted", pretty(i))
		}
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-pending[0].served; err == nil {
			t.Error("got a client served by a stopped listener, want none")
		}
		i := l.Info()
		if i.Accepted != 2 || i.Refused != 1 || i.Served != 1 || i.Reasons[conns.Refused] != 1 {
			t.Errorf("got %s, want 2 accepted: 1 served, 1 refused", pretty(i))
		}
		if err := checkCounters(i); err != nil {
			t.Error(err)
		}
		if n := rec.count(ranch.ConnStarted); n != 1 {
			t.Errorf("got %d connections started, want 1", n)
		}
	})
}
