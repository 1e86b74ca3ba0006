package protocol

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Timers fire once, not early and not much late, near and far; cancelled ones do not.
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
			after[i] = rand.N(20 * time.Second) // 2000 slots: 8 turns
			timers[i].fire = func(int64) { fired[i] += time.Since(begin) }
			w.set(&timers[i], time.Hour)
			w.set(&timers[i], after[i])
		}
		if n := runtime.NumGoroutine() - before; n > 1 {
			t.Errorf("%d goroutines", n)
		}
		for i := 0; i < len(timers); i += 3 {
			w.cancel(&timers[i])
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, at := range fired {
			if i%3 == 0 && at != 0 || i%3 != 0 && (at < after[i] || at > after[i]+2*res) {
				t.Fatalf("timer %d, after %v: %v", i, after[i], at)
			}
		}
		last := &timer{fire: func(int64) {}}
		w.set(last, time.Second)
		w.cancel(last)
		synctest.Wait()
		w.mu.Lock()
		if w.count != 0 || w.quit != nil {
			t.Errorf("%d timers, and it turns", w.count)
		}
		w.mu.Unlock()
		time.Sleep(time.Hour) // it rests
		at := time.Duration(0)
		last.fire = func(int64) { at = time.Since(begin) }
		begin = time.Now()
		w.set(last, time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if at < time.Second || at > time.Second+2*res {
			t.Errorf("after a rest: %v", at)
		}
		w.cancel(last)
	})
}

// A timer that is set again while it fires keeps what was set last.
func TestReadTimeoutSetWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Peer{e: &handling{wheel: newWheel(10 * time.Millisecond)}}
		tm := p.someTimers()
		p.limitReads(time.Hour)
		p.e.wheel.mu.Lock()
		p.e.wheel.take(&tm.read) // as the wheel does before it fires
		p.e.wheel.mu.Unlock()
		p.limitReads(time.Second)
		want := tm.read.at
		tm.read.fire(p.e.wheel.now.Load())
		if tm.read.at != want {
			t.Errorf("the timer is at %d, want %d", tm.read.at, want)
		}
		p.stopTimers()
	})
}

// The beginning of a frame takes a buffer by what has arrived, and gives it back.
func TestKeptParts(t *testing.T) {
	p := &Peer{}
	for _, c := range []struct{ add, cap int }{{1, 4 << 10}, {4095, 4 << 10}, {1, 64 << 10}, {61440 - 1, 64 << 10}} {
		if p.keep(make([]byte, c.add)); cap(p.part) != c.cap {
			t.Errorf("%d bytes in a buffer of %d, want %d", len(p.part), cap(p.part), c.cap)
		}
	}
	p.part[len(p.part)-1] = 7
	if p.kept(p.part[len(p.part)-3:]); cap(p.part) != 4<<10 || len(p.part) != 3 || p.part[2] != 7 {
		t.Errorf("%v in a buffer of %d", p.part, cap(p.part))
	}
	if p.kept(nil); p.part != nil {
		t.Error("kept")
	}
}
