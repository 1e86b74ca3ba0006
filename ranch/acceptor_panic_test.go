package ranch_test

import (
	"testing"
	"testing/synctest"

	"goranch/ranch"
)

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
