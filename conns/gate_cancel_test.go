package conns_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"goranch/conns"
)

func TestGateCancelledWaitersLeaveNothing(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		state conns.GateState // with one acceptor still waiting
	}{
		{"reserve", func(g *conns.Gate) { useSlots(t, g, 2) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			conns.GateState{Limit: 2, Used: 2, Waiting: 1, WaitingAcceptors: 1, Peak: 2}},
		{"confirm", func(g *conns.Gate) { useSlots(t, g, 1); reserveSlots(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			conns.GateState{Limit: 1, Used: 1, Waiting: 1, WaitingAcceptors: 1, Peak: 1}},
		{"confirm at zero", func(g *conns.Gate) { reserveSlots(t, g, 2); g.SetLimit(0) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			conns.GateState{Reserved: 1, Waiting: 1, WaitingAcceptors: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := conns.NewGate(2)
				tc.prime(g)
				ctx, cancel := context.WithCancelCause(bg)
				end, stop := context.WithCancel(bg)
				defer stop()
				var l passLog
				l.enqueue("first", tc.wait(g), ctx)
				l.enqueue("acceptor", g.Reserve, end)
				cancel(errGaveUp)
				l.want(t, "first: "+errGaveUp.Error())
				wantState(t, g, tc.state)
			})
		})
	}
}

// When a waiter is granted a slot and cancelled at the same moment, either may win, and the slot is
// neither lost nor taken twice.
func TestGateGrantAndCancelCoincide(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		free  func(g *conns.Gate)
		won   conns.GateState // the waiter has got its slot
		lost  conns.GateState // it has not
	}{
		{"reserve, by release", 1, func(g *conns.Gate) { useSlots(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Release,
			conns.GateState{Limit: 1, Reserved: 1, Peak: 1}, conns.GateState{Limit: 1, Peak: 1}},
		{"reserve, by limit", 0, func(*conns.Gate) {},
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, func(g *conns.Gate) { g.SetLimit(1) },
			conns.GateState{Limit: 1, Reserved: 1}, conns.GateState{Limit: 1}},
		{"confirm, by release", 2, func(g *conns.Gate) { useSlots(t, g, 1); reserveSlots(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }, (*conns.Gate).Release,
			conns.GateState{Limit: 1, Used: 1, Peak: 1}, conns.GateState{Limit: 1, Peak: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outcomes := map[bool]int{}
				for round := range 200 {
					g := conns.NewGate(tc.limit)
					tc.prime(g)
					ctx, cancel := context.WithCancelCause(bg)
					done := make(chan error, 1)
					go func() { done <- tc.wait(g)(ctx) }()
					synctest.Wait()
					if round%2 == 0 { // the first wakes the waiter; the second has happened when it runs
						tc.free(g)
						cancel(errGaveUp)
					} else {
						cancel(errGaveUp)
						tc.free(g)
					}
					err := <-done
					outcomes[err == nil]++
					switch {
					case err == nil:
						wantState(t, g, tc.won)
					case errors.Is(err, errGaveUp):
						wantState(t, g, tc.lost)
					default:
						t.Fatalf("got %v, want nil or %v", err, errGaveUp)
					}
				}
				if outcomes[true] == 0 || outcomes[false] == 0 {
					t.Errorf("got the results %v in 200 rounds, want both", outcomes)
				}
			})
		})
	}
}

// The slot that was granted to a cancelled waiter goes to the next one.
func TestGateCoincidentCancelPassesOn(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		back  func(g *conns.Gate) // frees the slot of the first
		state conns.GateState
	}{
		{"reserve", func(g *conns.Gate) { useSlots(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Cancel,
			conns.GateState{Limit: 1, Reserved: 1, Peak: 1}},
		{"confirm", func(g *conns.Gate) { useSlots(t, g, 1); reserveSlots(t, g, 2); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }, (*conns.Gate).Release,
			conns.GateState{Limit: 1, Used: 1, Peak: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for round := range 100 {
					g := conns.NewGate(3)
					tc.prime(g)
					ctx, cancel := context.WithCancel(bg)
					first, second := make(chan error, 1), make(chan error, 1)
					go func() { first <- tc.wait(g)(ctx) }()
					synctest.Wait()
					go func() { second <- tc.wait(g)(bg) }()
					synctest.Wait()
					if round%2 == 0 {
						g.Release()
						cancel()
					} else {
						cancel()
						g.Release()
					}
					if <-first == nil {
						tc.back(g)
					}
					synctest.Wait()
					if err := <-second; err != nil {
						t.Fatalf("second waiter: got %v, want nil", err)
					}
					wantState(t, g, tc.state)
				}
			})
		})
	}
}

// A slot that is released while a goroutine begins to wait is not lost.
func TestGateNoWakeIsLost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
	}{
		{"reserve", func(g *conns.Gate) { useSlots(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }},
		{"confirm", func(g *conns.Gate) { useSlots(t, g, 1); reserveSlots(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }},
		{"wait", func(g *conns.Gate) { useSlots(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error {
				return func(ctx context.Context) error { return g.Wait(ctx, func(n int) bool { return n == 0 }) }
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rounds := 20_000
			if testing.Short() {
				rounds = 2000
			}
			g := make(chan *conns.Gate)
			defer close(g)
			go func() {
				for g := range g {
					g.Release()
				}
			}()
			done := make(chan error, 1)
			for range rounds {
				gate := conns.NewGate(2)
				tc.prime(gate)
				g <- gate
				go func() { done <- tc.wait(gate)(bg) }()
				if err := receive(t, done); err != nil {
					t.Fatalf("got %v, want nil", err)
				}
			}
		})
	}
}

// changeLimit changes the limit of g all the time, to at most top, until done is closed.
func changeLimit(g *conns.Gate, top int, faults *faultLog, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		g.SetLimit(rand.IntN(top + 1))
		if s := g.State(); s.Used+s.Reserved > top {
			faults.add("got %+v, want at most %d slots", s, top)
		}
	}
}

// Goroutines wait and are cancelled while they are granted slots, and the limit changes. At the end
// no slot is lost and none is left over.
func TestGateUnderStress(t *testing.T) {
	const top, workers = 4, 12
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	g := conns.NewGate(top)
	var faults faultLog
	used := 0
	g.Observe(func(s conns.GateState) {
		if s.Used > used && s.Used > s.Limit {
			faults.add("got %d used slots as one was added, want at most %d", s.Used, s.Limit)
		}
		used = s.Used
	})
	var live atomic.Int64
	done := make(chan struct{})
	var others, all sync.WaitGroup
	others.Go(func() { changeLimit(g, top, &faults, done) })
	for range workers {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancelCause(bg)
				patience := rand.IntN(3)
				if patience < 2 {
					go cancel(errGaveUp)
				}
				if g.Reserve(ctx) == nil {
					switch {
					case patience == 1:
						g.Cancel()
					case g.Confirm(ctx) == nil:
						if n := live.Add(1); n > top {
							faults.add("got %d goroutines with a slot, want at most %d", n, top)
						}
						live.Add(-1)
						g.Release()
					}
				}
				cancel(nil)
			}
		})
	}
	all.Wait()
	close(done)
	others.Wait()
	g.SetLimit(top)
	faults.report(t)
	wantState(t, g, conns.GateState{Limit: top, Peak: g.State().Peak})
	useSlots(t, g, top)
	if g.TryReserve() {
		t.Error("got a slot above the limit, want none")
	}
}
