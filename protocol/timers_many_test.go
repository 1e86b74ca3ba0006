package protocol

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A hundred thousand connections with tick and timeout share one goroutine.
func TestManyConnectionsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &handling{wheel: newWheel(50 * time.Millisecond)}
		e.Tick, e.ReadTimeout = time.Second, 3*time.Second
		peers := make([]Peer, 100_000)
		before := runtime.NumGoroutine()
		for i := range peers {
			peers[i] = Peer{e: e, h: silent{}}
			peers[i].mail.closed = true // what is due is not delivered
			peers[i].startTimers()
		}
		time.Sleep(5 * time.Second)
		if n := runtime.NumGoroutine() - before; n > 1 || e.wheel.quit == nil { // of earlier tests some may end meanwhile
			t.Errorf("%d goroutines", n)
		}
		for i := range peers {
			peers[i].stopTimers()
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 0 || e.wheel.count != 0 || e.wheel.quit != nil {
			t.Errorf("%d goroutines, %d timers left", n, e.wheel.count)
		}
	})
}

type silent struct{}

func (silent) HandleData(*Peer, []byte) Action { return Action{} }
func (silent) HandleTick(*Peer) Action         { return Action{} }
