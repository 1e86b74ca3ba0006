package shell

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// workers returns the number of worker goroutines of this test.
func workers() (n int) {
	all := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n") {
		header, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "synctest bubble") && strings.Contains(stack, ".(*Shell).work(") {
			n++
		}
	}
	return n
}

// Workers run the commands of several sessions. Idle ones are limited in number, and stop if
// unused.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		wait := Method("wait", "", func(_ context.Context, s string) (string, error) { <-release; return s, nil })
		exit := Method("exit-goroutine", "", func(_ context.Context, s string) (string, error) { runtime.Goexit(); return s, nil })
		srv := newTestServer(t, Options{Commands: []Command{wait, exit}})
		idle := func() int {
			synctest.Wait()
			srv.mu.Lock()
			defer srv.mu.Unlock()
			return len(srv.idle)
		}
		limit := runtime.GOMAXPROCS(0)
		clients := make([]*client, limit+3)
		for i := range clients {
			clients[i] = srv.dial()
			clients[i].send("wait:x\n")
		}
		if n := idle(); n != 0 {
			t.Errorf("while all run: got %d idle workers, want 0", n)
		}
		close(release)
		for _, c := range clients {
			c.expect("x")
		}
		if n := idle(); n != limit {
			t.Errorf("after the first jobs: got %d idle workers, want %d", n, limit)
		}
		for _, c := range clients {
			c.ask("wait:y", "y")
		}
		if n := idle(); n != limit || workers() != limit {
			t.Errorf("after further jobs: got %d idle workers, want the same %d", n, limit)
		}
		clients[0].send("exit-goroutine:\n")
		if n := idle(); n != limit-1 {
			t.Errorf("after runtime.Goexit: got %d idle workers, want %d", n, limit-1)
		}
		clients[0].ask("wait:z", "z")
		time.Sleep(2 * trimInterval)
		if n := idle(); n != 0 || workers() != 0 {
			t.Errorf("after the trim interval: got %d idle workers, want 0", n)
		}
		clients[1].ask("wait:again", "again")
	})
}
