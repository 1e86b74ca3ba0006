package conns_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

var (
	bg       = context.Background()
	errTired = errors.New("tired of waiting")
)

// take brings n slots of g into use, which must not have to wait.
func take(t testing.TB, g *conns.Gate, n int) {
	t.Helper()
	for i := range n {
		if !g.TryReserve() || !g.TryConfirm() {
			t.Fatalf("slot %d of %d was not to be had: %+v", i+1, n, g.State())
		}
	}
}

func reserve(t testing.TB, g *conns.Gate, n int) {
	t.Helper()
	for i := range n {
		if !g.TryReserve() {
			t.Fatalf("reservation %d of %d was not to be had: %+v", i+1, n, g.State())
		}
	}
}

func wantState(t testing.TB, g *conns.Gate, want conns.GateState) {
	t.Helper()
	if diff := cmp.Diff(want, g.State()); diff != "" {
		t.Fatalf("state of the gate (-want +got):\n%s", diff)
	}
}

func TestGateOfOneGoroutine(t *testing.T) {
	const u = conns.Unlimited
	for _, tc := range []struct {
		name  string
		limit int
		do    func(g *conns.Gate) []bool
		got   []bool
		state conns.GateState
	}{
		{"zero admits nobody", 0,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve()} },
			[]bool{false}, conns.GateState{}},
		{"a negative limit is zero", -5,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.Over()} },
			[]bool{false, false}, conns.GateState{}},
		{"a reservation holds a slot", 1,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.TryReserve()} },
			[]bool{true, false}, conns.GateState{Limit: 1, Reserved: 1}},
		{"a connection holds a slot", 1,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve()} },
			[]bool{true, true, false}, conns.GateState{Limit: 1, Used: 1, Peak: 1}},
		{"both together fill the gate", 2,
			func(g *conns.Gate) []bool {
				return []bool{g.TryReserve(), g.TryReserve(), g.TryConfirm(), g.TryReserve()}
			},
			[]bool{true, true, true, false}, conns.GateState{Limit: 2, Used: 1, Reserved: 1, Peak: 1}},
		{"cancel gives back", 1,
			func(g *conns.Gate) []bool {
				a := g.TryReserve()
				g.Cancel()
				return []bool{a, g.TryReserve()}
			},
			[]bool{true, true}, conns.GateState{Limit: 1, Reserved: 1}},
		{"release gives back, the peak stays", 1,
			func(g *conns.Gate) []bool {
				a, b := g.TryReserve(), g.TryConfirm()
				g.Release()
				return []bool{a, b, g.TryReserve()}
			},
			[]bool{true, true, true}, conns.GateState{Limit: 1, Reserved: 1, Peak: 1}},
		{"raised", 1,
			func(g *conns.Gate) []bool {
				return []bool{g.TryReserve(), g.TryReserve(), g.SetLimit(2), g.TryReserve(), g.TryReserve()}
			},
			[]bool{true, false, false, true, false}, conns.GateState{Limit: 2, Reserved: 2}},
		{"lowered under what is reserved", 3,
			func(g *conns.Gate) []bool {
				return []bool{
					g.TryReserve(), g.TryReserve(), g.TryReserve(), g.SetLimit(1), g.Over(),
					g.TryConfirm(), g.TryConfirm(),
				}
			},
			[]bool{true, true, true, true, true, true, false},
			conns.GateState{Limit: 1, Used: 1, Reserved: 2, Peak: 1}},
		{"lowered to what is taken is not over", 3,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.SetLimit(1), g.Over(), g.TryReserve()} },
			[]bool{true, false, false, false}, conns.GateState{Limit: 1, Reserved: 1}},
		{"lowered to zero", 2,
			func(g *conns.Gate) []bool {
				return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve(), g.SetLimit(0), g.TryConfirm()}
			},
			[]bool{true, true, true, true, false}, conns.GateState{Used: 1, Reserved: 1, Peak: 1}},
		{"lowered below zero is zero", 1,
			func(g *conns.Gate) []bool {
				return []bool{g.SetLimit(-1), g.TryReserve(), g.SetLimit(1), g.TryReserve()}
			},
			[]bool{false, false, false, true}, conns.GateState{Limit: 1, Reserved: 1}},
		{"over ends as slots are given back", 2,
			func(g *conns.Gate) []bool {
				got := []bool{g.TryReserve(), g.TryReserve(), g.SetLimit(1)}
				g.Cancel()
				return append(got, g.Over(), g.TryReserve())
			},
			[]bool{true, true, true, false, false}, conns.GateState{Limit: 1, Reserved: 1}},
		{"to unlimited and back", 1,
			func(g *conns.Gate) []bool {
				got := []bool{g.SetLimit(u)}
				for range 3 {
					got = append(got, g.TryReserve(), g.TryConfirm())
				}
				return append(got, g.Over(), g.SetLimit(1), g.TryReserve())
			},
			[]bool{false, true, true, true, true, true, true, false, true, false},
			conns.GateState{Limit: 1, Used: 3, Peak: 3}},
		{"unlimited", u,
			func(g *conns.Gate) []bool { return []bool{g.TryReserve(), g.TryConfirm(), g.TryReserve(), g.Over()} },
			[]bool{true, true, true, false}, conns.GateState{Limit: u, Used: 1, Reserved: 1, Peak: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := conns.NewGate(tc.limit)
			if diff := cmp.Diff(tc.got, tc.do(g)); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			wantState(t, g, tc.state)
		})
	}
}

func TestGateWaitsForNobodyIfItNeedNot(t *testing.T) {
	g := conns.NewGate(2)
	if err := errors.Join(g.Reserve(bg), g.Reserve(bg), g.Confirm(bg)); err != nil {
		t.Fatal(err)
	}
	wantState(t, g, conns.GateState{Limit: 2, Used: 1, Reserved: 1, Peak: 1})
}

// line is a queue of goroutines at a gate, who write down the order in which they pass.
type line struct {
	mu     sync.Mutex
	passed []string
}

// join sends name to wait, and returns when it stands in the queue.
func (l *line) join(name string, wait func(context.Context) error, ctx context.Context) {
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

func (l *line) want(t *testing.T, names ...string) {
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
		{"reserve, by release", 1, func(g *conns.Gate) { take(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			func(g *conns.Gate) {
				if g.State().Used == 0 { // the one who passed last has only reserved
					g.TryConfirm()
				}
				g.Release()
			}},
		{"reserve, by cancel", 1, func(g *conns.Gate) { reserve(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Cancel},
		{"reserve, by a higher limit", 0, func(*conns.Gate) {},
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			func(g *conns.Gate) { g.SetLimit(g.State().Limit + 1) }},
		{"confirm, by release", 7, func(g *conns.Gate) { take(t, g, 1); reserve(t, g, 6); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }, (*conns.Gate).Release},
		{"confirm, by a higher limit", 6, func(g *conns.Gate) { reserve(t, g, 6); g.SetLimit(0) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			func(g *conns.Gate) { g.SetLimit(g.State().Limit + 1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := conns.NewGate(tc.limit)
				tc.prime(g)
				var l line
				var all []string
				for i := range 6 {
					all = append(all, fmt.Sprint("waiter ", i))
					ctx, cancel := context.WithCancelCause(bg)
					l.join(all[i], tc.wait(g), ctx)
					if i == 2 { // one in the middle goes away; the others keep their places
						cancel(errTired)
						synctest.Wait()
					}
					defer cancel(nil)
				}
				all[2] += ": " + errTired.Error()
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
		{"raised above all that wait", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(100) }, 5},
		{"unlimited", 0, 0, 5, func(g *conns.Gate) { g.SetLimit(conns.Unlimited) }, 5},
		{"lowered", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1) }, 0},
		{"released down to a lowered limit", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.Release(); g.Release() }, 0},
		{"released below a lowered limit", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.Release(); g.Release(); g.Release() }, 1},
		{"lowered and raised again", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(0); g.SetLimit(3) }, 0},
		{"raised from zero", 0, 0, 5, func(g *conns.Gate) { g.SetLimit(2) }, 2},
		{"raised below what lives", 3, 3, 5, func(g *conns.Gate) { g.SetLimit(1); g.SetLimit(2) }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				g := conns.NewGate(tc.limit)
				take(t, g, tc.used)
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
					t.Errorf("%d of %d waiters were woken, want %d", got, tc.waiting, tc.woken)
				}
				if got := g.State(); got.Waiting != tc.waiting-tc.woken || got.Reserved != tc.woken {
					t.Errorf("after waking %d of %d: %+v", tc.woken, tc.waiting, got)
				}
			})
		})
	}
}

// A slot that comes free goes to a connection in hand before it goes to an acceptor,
// and nobody overtakes those who wait.
func TestGateConnectionsInHandGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(3)
		take(t, g, 1)
		reserve(t, g, 2)
		var l line
		l.join("acceptor", g.Reserve, bg)
		g.SetLimit(1)
		l.join("in hand 1", g.Confirm, bg)
		l.join("in hand 2", g.Confirm, bg)
		l.want(t)
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Reserved: 2, Waiting: 3, Peak: 1})
		if g.TryReserve() || g.TryConfirm() {
			t.Fatal("somebody overtook those who wait")
		}
		g.Release()
		l.want(t, "in hand 1")
		g.Release()
		l.want(t, "in hand 1", "in hand 2")
		g.Release()
		l.want(t, "in hand 1", "in hand 2", "acceptor")
		wantState(t, g, conns.GateState{Limit: 1, Reserved: 1, Peak: 1})
	})
}

// A newcomer must not take a slot past those who wait for it, even where there is one.
func TestGateTryConfirmDoesNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(3)
		take(t, g, 1)
		reserve(t, g, 2)
		g.SetLimit(1)
		var l line
		l.join("in hand", g.Confirm, bg)
		g.Release() // has granted the slot, whether or not the waiter has run yet
		if g.TryConfirm() {
			t.Error("the slot was given away twice")
		}
		l.want(t, "in hand")
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Reserved: 1, Peak: 1})
	})
}

func TestGateCancelledWaitersLeaveNothing(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		state conns.GateState // with one acceptor left waiting
	}{
		{"reserve", func(g *conns.Gate) { take(t, g, 2) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve },
			conns.GateState{Limit: 2, Used: 2, Waiting: 1, Peak: 2}},
		{"confirm", func(g *conns.Gate) { take(t, g, 1); reserve(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			conns.GateState{Limit: 1, Used: 1, Waiting: 1, Peak: 1}},
		{"confirm at zero", func(g *conns.Gate) { reserve(t, g, 2); g.SetLimit(0) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm },
			conns.GateState{Reserved: 1, Waiting: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := conns.NewGate(2)
				tc.prime(g)
				ctx, cancel := context.WithCancelCause(bg)
				end, stop := context.WithCancel(bg)
				defer stop()
				var l line
				l.join("first", tc.wait(g), ctx)
				l.join("acceptor", g.Reserve, end)
				cancel(errTired)
				l.want(t, "first: "+errTired.Error())
				wantState(t, g, tc.state)
			})
		})
	}
}

// When a waiter's grant and its cancellation are there at the same moment, either may
// win, but the slot must be held by exactly one.
func TestGateGrantAndCancelCoincide(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		free  func(g *conns.Gate)
		won   conns.GateState // the waiter has its slot
		lost  conns.GateState // it has not
	}{
		{"reserve, by release", 1, func(g *conns.Gate) { take(t, g, 1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Release,
			conns.GateState{Limit: 1, Reserved: 1, Peak: 1}, conns.GateState{Limit: 1, Peak: 1}},
		{"reserve, by limit", 0, func(*conns.Gate) {},
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, func(g *conns.Gate) { g.SetLimit(1) },
			conns.GateState{Limit: 1, Reserved: 1}, conns.GateState{Limit: 1}},
		{"confirm, by release", 2, func(g *conns.Gate) { take(t, g, 1); reserve(t, g, 1); g.SetLimit(1) },
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
					if round%2 == 0 { // whichever comes first wakes the waiter; the other is there when it runs
						tc.free(g)
						cancel(errTired)
					} else {
						cancel(errTired)
						tc.free(g)
					}
					err := <-done
					outcomes[err == nil]++
					switch {
					case err == nil:
						wantState(t, g, tc.won)
					case errors.Is(err, errTired):
						wantState(t, g, tc.lost)
					default:
						t.Fatalf("error %v, want the cause of the context", err)
					}
				}
				if outcomes[true] == 0 || outcomes[false] == 0 {
					t.Errorf("only one outcome in 200 rounds: %v", outcomes)
				}
			})
		})
	}
}

// The slot that a cancelled waiter got at the same moment goes to the next in line.
func TestGateCoincidentCancelPassesOn(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
		back  func(g *conns.Gate) // of what the first has got
		state conns.GateState
	}{
		{"reserve", func(g *conns.Gate) { take(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }, (*conns.Gate).Cancel,
			conns.GateState{Limit: 1, Reserved: 1, Peak: 1}},
		{"confirm", func(g *conns.Gate) { take(t, g, 1); reserve(t, g, 2); g.SetLimit(1) },
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
						t.Fatal(err)
					}
					wantState(t, g, tc.state)
				}
			})
		})
	}
}

// A slot that comes free between a look at the gate and the parking there must not be lost.
func TestGateNoWakeIsLost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wait  func(g *conns.Gate) func(context.Context) error
	}{
		{"reserve", func(g *conns.Gate) { take(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Reserve }},
		{"confirm", func(g *conns.Gate) { take(t, g, 1); reserve(t, g, 1); g.SetLimit(1) },
			func(g *conns.Gate) func(context.Context) error { return g.Confirm }},
		{"wait", func(g *conns.Gate) { take(t, g, 1) },
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
					t.Fatal(err)
				}
			}
		})
	}
}

// Goroutines come, wait, are cancelled while they are granted, and go; the limit moves
// all the while. In the end no slot may be missing and none too many.
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
			faults.add("%d slots in use, the limit was %d as one was added", s.Used, s.Limit)
		}
		used = s.Used
	})
	var live atomic.Int64
	done := make(chan struct{})
	var others, all sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			g.SetLimit(rand.IntN(top + 1))
			if s := g.State(); s.Used+s.Reserved > top {
				faults.add("more than %d slots: %+v", top, s)
			}
		}
	})
	for range workers {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancelCause(bg)
				patience := rand.IntN(3)
				if patience < 2 {
					go cancel(errTired)
				}
				if g.Reserve(ctx) == nil {
					switch {
					case patience == 1:
						g.Cancel()
					case g.Confirm(ctx) == nil:
						if n := live.Add(1); n > top {
							faults.add("%d hold a slot", n)
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
	take(t, g, top)
	if g.TryReserve() {
		t.Error("there is a slot more than the limit")
	}
}

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
				take(t, g, 2)
				ctx, cancel := context.WithTimeoutCause(bg, time.Hour, errTired)
				defer cancel()
				done := make(chan error, 1)
				begin := time.Now()
				go func() { done <- g.Wait(ctx, tc.ok) }()
				synctest.Wait()
				tc.do(g)
				err, took := <-done, time.Since(begin)
				switch {
				case tc.meets && (err != nil || took != 0):
					t.Errorf("after %v: %v, want no error at once", took, err)
				case !tc.meets && (!errors.Is(err, errTired) || took != time.Hour):
					t.Errorf("after %v: %v, want %v after an hour", took, err, errTired)
				}
				if n := g.Watchers(); n != 0 {
					t.Errorf("%d watchers were left behind", n)
				}
			})
		})
	}
}

// The slot passes from a connection that ends to one in hand under a single hold of the
// lock. Who waits for the number between must see it nevertheless.
func TestGateWaitSeesTheNumberBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(2)
		take(t, g, 1)
		reserve(t, g, 1)
		g.SetLimit(1)
		var l line
		l.join("in hand", g.Confirm, bg)
		l.join("empty", func(ctx context.Context) error {
			return g.Wait(ctx, func(n int) bool { return n == 0 })
		}, bg)
		g.Release()
		synctest.Wait()
		wantState(t, g, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		if n := g.Watchers(); n != 0 {
			t.Error("the number between was missed")
			g.Release()
		}
	})
}

// A Wait that holds at the moment of its cancellation may go either way, but leaves nothing.
func TestGateWaitCancelledAsItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for round := range 100 {
			g := conns.NewGate(1)
			take(t, g, 1)
			ctx, cancel := context.WithCancelCause(bg)
			done := make(chan error, 1)
			go func() { done <- g.Wait(ctx, func(n int) bool { return n == 0 }) }()
			synctest.Wait()
			if round%2 == 0 {
				g.Release()
				cancel(errTired)
				if err := <-done; err != nil {
					t.Fatalf("it held before the context ended, but: %v", err)
				}
			} else {
				cancel(errTired)
				g.Release()
				if err := <-done; err != nil && !errors.Is(err, errTired) {
					t.Fatal(err)
				}
			}
			if n := g.Watchers(); n != 0 {
				t.Fatalf("%d watchers were left behind", n)
			}
		}
	})
}

func TestGateManyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(10)
		var l line
		for _, n := range []int{3, 1, 2} {
			l.join(fmt.Sprint(n), func(ctx context.Context) error {
				return g.Wait(ctx, func(used int) bool { return used >= n })
			}, bg)
		}
		take(t, g, 1)
		l.want(t, "1")
		take(t, g, 1)
		l.want(t, "1", "2")
		take(t, g, 1)
		l.want(t, "1", "2", "3")
	})
}

// mustPanic returns what f panicked with.
func mustPanic(t *testing.T, f func()) (v any) {
	t.Helper()
	defer func() {
		if v = recover(); v == nil {
			t.Fatal("no panic")
		}
	}()
	f()
	return nil
}

// A slot given back twice would let one connection too many in, for ever. It is a fault
// of the caller's; who recovers from the panic finds the gate as it was.
func TestGatePanicsAtMisuse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prime func(g *conns.Gate)
		wrong func(g *conns.Gate)
		state conns.GateState
	}{
		{"release of nothing", func(*conns.Gate) {}, (*conns.Gate).Release, conns.GateState{Limit: 2}},
		{"second release", func(g *conns.Gate) { take(t, g, 1); g.Release() }, (*conns.Gate).Release, conns.GateState{Limit: 2, Peak: 1}},
		{"release of a reservation", func(g *conns.Gate) { reserve(t, g, 1) }, (*conns.Gate).Release, conns.GateState{Limit: 2, Reserved: 1}},
		{"cancel of nothing", func(*conns.Gate) {}, (*conns.Gate).Cancel, conns.GateState{Limit: 2}},
		{"second cancel", func(g *conns.Gate) { reserve(t, g, 1); g.Cancel() }, (*conns.Gate).Cancel, conns.GateState{Limit: 2}},
		{"cancel of a connection", func(g *conns.Gate) { take(t, g, 1) }, (*conns.Gate).Cancel, conns.GateState{Limit: 2, Used: 1, Peak: 1}},
		{"confirm of nothing", func(*conns.Gate) {}, func(g *conns.Gate) { g.Confirm(bg) }, conns.GateState{Limit: 2}},
		{"second confirm", func(g *conns.Gate) { take(t, g, 1) }, func(g *conns.Gate) { g.TryConfirm() }, conns.GateState{Limit: 2, Used: 1, Peak: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := conns.NewGate(2)
			tc.prime(g)
			mustPanic(t, func() { tc.wrong(g) })
			done := make(chan conns.GateState, 1)
			go func() { done <- g.State() }() // does not come back if the gate's lock was left held
			if diff := cmp.Diff(tc.state, receive(t, done)); diff != "" {
				t.Errorf("state of the gate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatePeak(t *testing.T) {
	g := conns.NewGate(conns.Unlimited)
	var peaks []int
	for _, n := range []int{3, -2, 1, -2, 5, -5} {
		if n > 0 {
			take(t, g, n)
		}
		for range -n {
			g.Release()
		}
		peaks = append(peaks, g.State().Peak)
	}
	if diff := cmp.Diff([]int{3, 3, 3, 3, 5, 5}, peaks); diff != "" {
		t.Errorf("peaks (-want +got):\n%s", diff)
	}
}
