package conns_test

import (
	"context"
	"testing"

	"goranch/conns"
)

// A pending connection keeps a slot that is granted before queued returns, even if queued ends ctx.
func TestReservePendingKeepsGrant(t *testing.T) {
	for range 100 { // a select would choose one of the two at random
		g := conns.NewGate(1)
		if err := g.Reserve(t.Context()); err != nil {
			t.Fatal(err)
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
