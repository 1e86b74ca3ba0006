package protocol

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Timers fire once, not early, and at most two units late. Cancelled timers do not fire.
func TestWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const res = 10 * time.Millisecond
		w := newWheel(res)
		begin := time.Now()
		fired := make([]time.Duration, 20_000)
		timers := make([]timer, len(fired))
		after := make([]time.Duration, len(fired))
		before := runtime.NumGoroutine()
		for i := range timers {
			after[i] = rand.N(20 * time.Second) // 2000 units: 8 times around the wheel
			timers[i].fire = func(int64) { fired[i] += time.Since(begin) }
			w.set(&timers[i], time.Hour)
			w.set(&timers[i], after[i])
		}
		if n := runtime.NumGoroutine() - before; n > 1 {
			t.Errorf("got %d goroutines, want 1", n)
		}
		for i := 0; i < len(timers); i += 3 {
			w.cancel(&timers[i])
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, at := range fired {
			if i%3 == 0 && at != 0 || i%3 != 0 && (at < after[i] || at > after[i]+2*res) {
				t.Fatalf("timer %d: got %v, want %v, or 0 if cancelled", i, at, after[i])
			}
		}
		last := &timer{fire: func(int64) {}}
		w.set(last, time.Second)
		w.cancel(last)
		synctest.Wait()
		w.mu.Lock()
		if w.count != 0 || w.quit != nil {
			t.Errorf("got %d timers and goroutine %t, want none", w.count, w.quit != nil)
		}
		w.mu.Unlock()
		time.Sleep(time.Hour) // without a goroutine
		at := time.Duration(0)
		last.fire = func(int64) { at = time.Since(begin) }
		begin = time.Now()
		w.set(last, time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if at < time.Second || at > time.Second+2*res {
			t.Errorf("after an hour without timers: got %v, want 1s", at)
		}
		w.cancel(last)
	})
}

// A timer that is set while it fires keeps the new setting.
func TestReadTimeoutSetWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Peer{hp: &handlerProtocol{wheel: newWheel(10 * time.Millisecond)}}
		tm := p.needTimers()
		p.setReadLimit(time.Hour)
		p.hp.wheel.mu.Lock()
		p.hp.wheel.remove(&tm.read) // as the wheel does before it fires
		p.hp.wheel.mu.Unlock()
		p.setReadLimit(time.Second)
		want := tm.read.at
		tm.read.fire(p.hp.wheel.now.Load())
		if tm.read.at != want {
			t.Errorf("got the timer at %d, want %d", tm.read.at, want)
		}
		p.stopTimers()
	})
}
