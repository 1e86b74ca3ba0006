package conns_test

import (
	"context"
	"testing"
	"testing/synctest"

	"goranch/conns"
)

// A pending connection keeps a slot that is granted before queued returns, even if queued ends ctx.
func TestReservePendingKeepsGrant(t *testing.T) {
	for range 100 { // a select would choose one of the two at random
		g := conns.NewGate(1)
		if err := g.Reserve(t.Context()); err != nil {
			t.Fatalf("Reserve: got %v, want nil", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := g.ReservePending(ctx, func() {
			g.Cancel()
			cancel()
		})
		if err != nil || g.State().Reserved != 1 {
			t.Fatalf("got %v, %+v, want the slot reserved", err, g.State())
		}
	}
}

// Pending connections are served in order, before waiting acceptors.
func TestReservePendingIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(0)
		order := make(chan int, 10)
		wait := func(n int, f func(context.Context) error) {
			go func() {
				if f(t.Context()) == nil {
					order <- n
				}
			}()
			synctest.Wait()
		}
		wait(9, g.Reserve)
		for n := range 3 {
			wait(n, func(ctx context.Context) error { return g.ReservePending(ctx, nil) })
		}
		for _, want := range []int{0, 1, 2, 9} {
			g.SetLimit(g.State().Limit + 1)
			if got := <-order; got != want {
				t.Errorf("got waiter %d, want %d", got, want)
			}
		}
	})
}

// A pending connection that has to wait interrupts acceptors, once it is in the queue; until a slot
// is handed over the gate is contended.
func TestReservePendingInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := conns.NewGate(1)
		g.Reserve(t.Context())
		if g.State().Contended {
			t.Error("before a connection waits: got Contended, want not")
		}
		done := make(chan error, 1)
		go func() {
			done <- g.ReservePending(t.Context(), func() {
				if !g.State().Contended {
					t.Error("when interrupted: got not Contended, want Contended")
				}
				g.Cancel() // what the interrupted acceptor does
			})
		}()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if g.State().Contended {
			t.Error("after the slot was handed over: got Contended, want not")
		}
		g.Confirm(t.Context())
		go func() { done <- g.ReservePending(t.Context(), func() {}) }()
		synctest.Wait()
		if g.State().Contended {
			t.Error("at the cap, without reservations: got Contended, want not")
		}
		g.Release()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}
