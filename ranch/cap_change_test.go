package ranch_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/ranch"
)

// Acceptors that are called back while the cap changes all the time come back for that
// reason and no other: nothing of it looks like a failure of accept.
func TestCapChangesAreNoAcceptErrors(t *testing.T) {
	overEach(t, func(t *testing.T, m medium) {
		l, rec := m.start(t, ranch.Options{}, answer)
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
		for _, v := range m.guests(t, l, 10) {
			v.works(t)
		}
		if n := l.Info().AcceptErrors; n != 0 {
			t.Errorf("%d accept errors, events: %v", n, rec.all(ranch.AcceptFailed))
		}
	})
}

// While clients come without a pause the cap is changed without a pause, by several at
// once: nothing crashes, nobody is refused, every client is served, and the cap of the
// end holds.
func TestCapChangesUnderLoad(t *testing.T) {
	for _, highest := range []int{20, ranch.Unlimited} {
		overEach(t, func(t *testing.T, m medium) {
			clients := m.many(200)
			l, _ := m.start(t, ranch.Options{MaxConnections: highest}, greetAs('!'))
			come := visitors(t, m, l, clients)
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
			for _, v := range come {
				v.in(t)
			}
			close(stop)
			wg.Wait()
			setCap(t, l, 5)
			l.SetProtocol(answer)
			active(t, l, 0)
			m.guests(t, l, 5)
			allParked(t, l)
			if i := l.Info(); i.Accepted != uint64(clients)+5 || i.PeakConnections > highest || i.AcceptErrors != 0 || i.Refused != 0 {
				t.Errorf("in the end: %s", pretty(i))
			}
		})
	}
}

// Also where listeners know no deadline, a connection accepted at the very moment in
// which the cap is lowered waits for a slot, and is neither served above the cap nor lost.
func TestAcceptedWhileTheCapIsLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{noDeadline: true}
		l, rec := start(t, f, ranch.Options{NumAcceptors: 2}, answer)
		synctest.Wait() // both are in accept, and cannot be called back
		setCap(t, l, 0)
		held := []*visitor{visit(t, f, dialAddr(l)), visit(t, f, dialAddr(l))}
		synctest.Wait()
		if i := l.Info(); i.Accepted != 0 || !held[0].waits() || !held[1].waits() || f.last().queued() != 0 {
			t.Fatalf("at a cap of 0: %s", pretty(i))
		}
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		setCap(t, l, 1)
		first, held := anyIn(t, held)
		first.works(t)
		synctest.Wait()
		if i := l.Info(); i.Accepted != 1 || !held[0].waits() {
			t.Fatalf("at a cap of 1: %s", pretty(i))
		}
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-held[0].served; err == nil {
			t.Error("a client was served by a listener that stops")
		}
		i := l.Info()
		if i.Accepted != 2 || i.Refused != 1 || i.Served != 1 || i.Reasons[conns.Refused] != 1 {
			t.Errorf("in the end: %s", pretty(i))
		}
		if err := balanced(i); err != nil {
			t.Error(err)
		}
		if n := rec.count(ranch.ConnStarted); n != 1 {
			t.Errorf("%d connections started", n)
		}
	})
}
