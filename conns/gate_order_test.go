package conns_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

// passLog records the order in which goroutines pass a gate.
type passLog struct {
	mu     sync.Mutex
	passed []string
}

// enqueue starts a goroutine that waits, and returns when it is in the queue.
func (l *passLog) enqueue(name string, wait func(context.Context) error, ctx context.Context) {
	go func() {
		if err := wait(ctx); err != nil {
			name += ": " + err.Error()
		}
		l.mu.Lock()
		l.passed = append(l.passed, name)
		l.mu.Unlock()
	}()
	synctest.Wait()
}

func (l *passLog) want(t *testing.T, names ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(names, slices.Clone(l.passed)); diff != "" {
		t.Fatalf("passed the gate (-want +got):\n%s", diff)
	}
}

func TestGateServesInOrder(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		free  func(g *conns.Gate)
	}{
		{"reserve, by release", 1, func(g *conns.Gate) { useSlots(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			func(g *conns.Gate) {
				if g.State().Used == 0 { // the last to pass has only reserved
					g.TryConfirm()
				}
				g.Release()
			}},
		{"reserve, by cancel", 1, func(g *conns.Gate) { reserveSlots(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Cancel},
		{"reserve, by a higher limit", 0, func(*conns.Gate) {},
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			func(g *conns.Gate) { g.SetLimit(g.State().Limit + 1) }},
		{"confirm, by release", 7, func(g *conns.Gate) { useSlots(t, g, 1); reserveSlots(t, g, 6); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }, (*conns.Gate).Release},
		{"confirm, by a higher limit", 6, func(g *conns.Gate) { reserveSlots(t, g, 6); g.SetLimit(0) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			func(g *conns.Gate) { g.SetLimit(g.State().Limit + 1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := conns.NewGate(tc.limit)
				tc.prime(g)
				var l passLog
				var all []string
				for i := range 6 {
					all = append(all, fmt.Sprint("waiter ", i))
					ctx, cancel := context.WithCancelCause(bg)
					l.enqueue(all[i], tc.wait(g), ctx)
					if i == 2 { // one in the middle gives up; the others keep their order
						cancel(errGaveUp)
						synctest.Wait()
					}
					defer cancel(nil)
				}
				all[2] += ": " + errGaveUp.Error()
				order := []string{all[2], all[0], all[1], all[3], all[4], all[5]}
				for i := range order {
					l.want(t, order[:i+1]...)
					if i < len(order)-1 {
						tc.free(g)
					}
				}
			})
		})
	}
}

func TestGateWakesExactlyTheFreed(t *testing.T) {
	for _, tc := range []struct {
		name        string
		limit, used int
		waiting     int
		free        func(g *conns.Gate)
		woken       int
	}{
		{"one release", 3, 3, 5, (*conns.Gate).Release, 1},
		{"two releases", 3, 3, 5, func(g *conns.Gate) { g.Release(); g.Release() }, 2},
		{"raised by three", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(6) }, 3},
		{"raised above all waiters", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(100) }, 5},
		{"unlimited", 0, 0, 5, func(g *conns.Gate) { g.SetLimit(math.MaxInt) }, 5},
		{"lowered", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1) }, 0},
		{"released down to a lowered limit", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.Release(); g.Release() }, 0},
		{"released below a lowered limit", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.Release(); g.Release(); g.Release() }, 1},
		{"lowered and raised again", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(0); g.SetLimit(3) }, 0},
		{"raised from zero", 0, 0, 5, func(g *conns.Gate) { g.SetLimit(2) }, 2},
		{"raised below the used slots", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.SetLimit(2) }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				g := conns.NewGate(tc.limit)
				useSlots(t, g, tc.used)
				var woken atomic.Int64
				for range tc.waiting {
					go func() {
						if g.Reserve(ctx) == nil {
							woken.Add(1)
						}
					}()
				}
				synctest.Wait()
				tc.free(g)
				synctest.Wait()
				if got := int(woken.Load()); got != tc.woken {
					t.Errorf("got %d of %d waiters woken, want %d", got, tc.waiting, tc.woken)
				}
				if got := g.State(); got.Waiting != tc.waiting-tc.woken || got.Reserved != tc.woken {
					t.Errorf("got %+v, want %d waiting and %d reserved", got, tc.waiting-tc.woken, tc.woken)
				}
			})
		})
	}
}

// A free slot goes to a connection that waits in Confirm before it goes to an acceptor, and no
// caller overtakes waiters.
func TestGateServesConfirmFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(3)
		useSlots(t, g, 1)
		reserveSlots(t, g, 2)
		var l passLog
		l.enqueue("acceptor", g.Reserve, bg)
		g.SetLimit(1)
		l.enqueue("pending 1", g.Confirm, bg)
		l.enqueue("pending 2", g.Confirm, bg)
		l.want(t)
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Reserved: 2, Waiting: 3, WaitingAcceptors: 1, Peak: 1})
		if g.TryReserve() || g.TryConfirm() {
			t.Fatal("got a slot before the waiters, want none")
		}
		g.Release()
		l.want(t, "pending 1")
		g.Release()
		l.want(t, "pending 1", "pending 2")
		g.Release()
		l.want(t, "pending 1", "pending 2", "acceptor")
		wantState(t, g, conns.GateState{Limit: 1, Reserved: 1, Peak: 1})
	})
}

// TryConfirm does not take a slot that was granted to a waiter.
func TestGateTryConfirmDoesNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(3)
		useSlots(t, g, 1)
		reserveSlots(t, g, 2)
		g.SetLimit(1)
		var l passLog
		l.enqueue("pending", g.Confirm, bg)
		g.Release() // grants the slot, whether or not the waiter has run yet
		if g.TryConfirm() {
			t.Error("got the slot that was granted to the waiter, want none")
		}
		l.want(t, "pending")
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Reserved: 1, Peak: 1})
	})
}
