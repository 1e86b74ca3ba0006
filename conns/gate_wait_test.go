package conns_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
)

func TestGateWait(t *testing.T) {
	equal := func(n int) func(int) bool { return func(used int) bool { return used == n } }
	for _, tc := range []struct {
		name  string
		ok    func(used int) bool
		do    func(g *conns.Gate) // with 2 of 3 slots in use
		meets bool
	}{
		{"holds at once", equal(2), func(*conns.Gate) {}, true},
		{"never holds", equal(1), func(*conns.Gate) {}, false},
		{"after a release", equal(1), (*conns.Gate).Release, true},
		{"after a confirm", equal(3), func(g *conns.Gate) { g.TryReserve(); g.TryConfirm() }, true},
		{"reservations do not count", equal(3), func(g *conns.Gate) { g.TryReserve() }, false},
		{"a limit does not count", equal(3), func(g *conns.Gate) { g.SetLimit(0); g.SetLimit(9) }, false},
		{"down and up again", equal(1), func(g *conns.Gate) { g.Release(); g.TryReserve(); g.TryConfirm() }, true},
		{"up and down again", equal(3), func(g *conns.Gate) { g.TryReserve(); g.TryConfirm(); g.Release() }, true},
		{"passed on the way to zero", equal(1), func(g *conns.Gate) { g.Release(); g.Release() }, true},
		{"less", func(n int) bool { return n < 1 }, func(g *conns.Gate) { g.Release(); g.Release() }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := conns.NewGate(3)
				useSlots(t, g, 2)
				ctx, cancel := context.WithTimeoutCause(bg, time.Hour, errGaveUp)
				defer cancel()
				done := make(chan error, 1)
				begin := time.Now()
				go func() { done <- g.Wait(ctx, tc.ok) }()
				synctest.Wait()
				tc.do(g)
				err, took := <-done, time.Since(begin)
				switch {
				case tc.meets && (err != nil || took != 0):
					t.Errorf("got %v after %v, want nil at once", err, took)
				case !tc.meets && (!errors.Is(err, errGaveUp) || took != time.Hour):
					t.Errorf("got %v after %v, want %v after an hour", err, took, errGaveUp)
				}
				if n := g.Watchers(); n != 0 {
					t.Errorf("got %d watchers, want 0", n)
				}
			})
		})
	}
}

// A slot passes from a connection that ends to a pending one while the lock is held once. Wait sees
// the number in between nevertheless.
func TestGateWaitSeesEveryNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(2)
		useSlots(t, g, 1)
		reserveSlots(t, g, 1)
		g.SetLimit(1)
		var l passLog
		l.enqueue("pending", g.Confirm, bg)
		l.enqueue("empty", func(ctx context.Context) error {
			return g.Wait(ctx, func(n int) bool { return n == 0 })
		}, bg)
		g.Release()
		synctest.Wait()
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		if n := g.Watchers(); n != 0 {
			t.Error("got no return of Wait for 0, want one")
			g.Release()
		}
	})
}

// A Wait whose condition holds as it is cancelled may return either, and leaves no watcher.
func TestGateWaitCancelledAsItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for round := range 100 {
			g := conns.NewGate(1)
			useSlots(t, g, 1)
			ctx, cancel := context.WithCancelCause(bg)
			done := make(chan error, 1)
			go func() { done <- g.Wait(ctx, func(n int) bool { return n == 0 }) }()
			synctest.Wait()
			if round%2 == 0 {
				g.Release()
				cancel(errGaveUp)
				if err := <-done; err != nil {
					t.Fatalf("got %v, want nil: the condition held before the context ended", err)
				}
			} else {
				cancel(errGaveUp)
				g.Release()
				if err := <-done; err != nil && !errors.Is(err, errGaveUp) {
					t.Fatalf("got %v, want nil or %v", err, errGaveUp)
				}
			}
			if n := g.Watchers(); n != 0 {
				t.Fatalf("got %d watchers, want 0", n)
			}
		}
	})
}

func TestGateManyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(10)
		var l passLog
		for _, n := range []int{3, 1, 2} {
			l.enqueue(fmt.Sprint(n), func(ctx context.Context) error {
				return g.Wait(ctx, func(used int) bool { return used >= n })
			}, bg)
		}
		useSlots(t, g, 1)
		l.want(t, "1")
		useSlots(t, g, 1)
		l.want(t, "1", "2")
		useSlots(t, g, 1)
		l.want(t, "1", "2", "3")
	})
}
