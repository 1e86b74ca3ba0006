package shell

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Workers run commands of several sessions, and end when there is nothing to do.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		wait := Method("wait", "", func(_ context.Context, s string) (string, error) { <-release; return s, nil })
		exit := Method("exit-goroutine", "", func(_ context.Context, s string) (string, error) { runtime.Goexit(); return s, nil })
		h := serve(t, Options{Commands: []Command{wait, exit}})
		waiting := func() int {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.idle)
		}
		most := runtime.GOMAXPROCS(0)
		clients := make([]*client, most+3)
		for i := range clients {
			clients[i] = h.dial()
			clients[i].send("wait:x\n")
		}
		if n := waiting(); n != 0 {
			t.Errorf("%d workers wait while all run", n)
		}
		close(release)
		for _, c := range clients {
			c.expect("x")
		}
		if n := waiting(); n != most {
			t.Errorf("%d workers wait, want %d", n, most)
		}
		before := runtime.NumGoroutine()
		for _, c := range clients {
			c.ask("wait:y", "y")
		}
		if n := waiting(); n != most || runtime.NumGoroutine() != before {
			t.Errorf("%d workers wait, want the same %d", n, most)
		}
		clients[0].send("exit-goroutine:\n")
		if n := waiting(); n != most-1 {
			t.Errorf("%d workers wait when one has ended, want %d", n, most-1)
		}
		clients[0].ask("wait:z", "z")
		time.Sleep(2 * restTime)
		if n := waiting(); n != 0 || runtime.NumGoroutine() > before-most {
			t.Errorf("%d workers still wait", n)
		}
		clients[1].ask("wait:again", "again")
	})
}
