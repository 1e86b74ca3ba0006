package protocol

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// The timers of 100,000 connections use one goroutine.
func TestManyConnectionsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hp := &handlerProtocol{wheel: newWheel(50 * time.Millisecond)}
		hp.Tick, hp.ReadTimeout = time.Second, 3*time.Second
		peers := make([]Peer, 100_000)
		before := runtime.NumGoroutine()
		for i := range peers {
			peers[i] = Peer{hp: hp, h: silent{}}
			peers[i].mail.closed = true // timer events are discarded
			peers[i].startTimers()
		}
		time.Sleep(5 * time.Second)
		if n := runtime.NumGoroutine() - before; n > 10 || hp.wheel.quit == nil { // those of earlier tests and of the runtime start and end
			t.Errorf("got %d goroutines, want 1", n)
		}
		for i := range peers {
			peers[i].stopTimers()
		}
		synctest.Wait()
		if hp.wheel.count != 0 || hp.wheel.quit != nil {
			t.Errorf("got %d timers and a goroutine %v, want none", hp.wheel.count, hp.wheel.quit != nil)
		}
	})
}

type silent struct{}

func (silent) HandleData(*Peer, []byte) Action { return Action{} }
func (silent) HandleTick(*Peer) Action         { return Action{} }
