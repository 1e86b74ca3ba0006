package conns_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/transport"
)

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, 0)
		var kept *transport.Conn
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			kept = c
			return untilCancelled(ctx, c)
		})
		synctest.Wait()
		admitted := make(chan error, 1)
		go func() { admitted <- h.gate.Reserve(bg) }()
		synctest.Wait()
		for range 2 {
			conns.Remove(kept)
		}
		if err := <-admitted; err != nil { // the waiting acceptor has got the slot
			t.Errorf("Reserve: got %v, want nil", err)
		}
		h.gate.Cancel()
		wantState(t, h.gate, conns.GateState{Limit: 1, Peak: 1})
		if c := h.sup.Counters(); c.Live != 1 {
			t.Errorf("got %+v, want 1 live connection", c)
		}
		h.start(plain, newStub(), untilCancelled) // takes the slot
		synctest.Wait()
		conns.Remove(kept)
		wantState(t, h.gate, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		if !kill(h.sup, kept.ID()) {
			t.Error("Kill of a connection that is not counted: got 0, want 1")
		}
		h.end()
		conns.Remove(kept) // has no effect after the end
		wantState(t, h.gate, conns.GateState{Limit: 1, Used: 1, Peak: 1})
		h.close()
		if h.released != 2 {
			t.Errorf("got %d releases of slots, want 2", h.released)
		}
	})
}

// Remove ignores connections that no supervisor owns.
func TestRemoveForeign(t *testing.T) {
	for name, owner := range map[string]any{"no owner": nil, "another owner": "a test"} {
		t.Run(name, func(t *testing.T) {
			var c transport.Conn
			engine.Init(&c, plain, newStub(), owner)
			defer c.Close()
			conns.Remove(&c)
		})
	}
}

// Concurrent calls of Remove, also while the connection ends, release the slot once.
func TestRemoveConcurrently(t *testing.T) {
	for range 300 {
		h := newHarness(t, 1, 0)
		var wg sync.WaitGroup
		var begun atomic.Bool
		h.start(plain, newStub(), func(_ context.Context, c *transport.Conn) error {
			for range 4 {
				wg.Go(func() {
					for !begun.Load() { // a channel would start them one after the other
					}
					conns.Remove(c)
				})
			}
			begun.Store(true)
			return nil
		})
		h.end()
		wg.Wait()
		wantState(t, h.gate, conns.GateState{Limit: 1, Peak: 1})
		h.close()
		if h.released != 1 {
			t.Fatalf("got %d releases of the slot, want 1", h.released)
		}
	}
}
