package conns_test

import (
	"context"
	"github.com/google/go-cmp/cmp"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/transport"
)

// A Kill takes precedence over an earlier request to stop, and over a later Aborted.
func TestKillDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1, 0)
		h.start(plain, newStub(), returnAfter(conns.StuckGrace/2, nil))
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- h.sup.Drain(ctx, conns.DrainOptions{}) }()
		synctest.Wait()
		killAll(h, nil)
		cancel()
		wantReason(t, h.end(), conns.Killed)
		if err := <-done; err != nil {
			t.Errorf("Drain: got %v, want nil", err)
		}
		h.close()
	})
}

// A hundred connections are killed at once; the others go on.
func TestKillHundred(t *testing.T) {
	const n = 100
	h := newHarness(t, 2*n, 0)
	for i := range 2 * n {
		server, client := tcpPair(t)
		h.start(plain, server, func(ctx context.Context, c *transport.Conn) error {
			_, err := c.WriteTo(c)
			return err
		})
		if i%2 == 0 {
			continue
		}
		defer func() { // connections that were not killed still answer
			if _, err := client.Write([]byte("?")); err != nil {
				t.Errorf("write: got %v, want nil", err)
			}
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Errorf("read: got %v, want nil", err)
			}
		}()
	}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, c := range list(h.sup) {
		if i%2 == 0 {
			wg.Go(func() {
				<-begin
				if !kill(h.sup, c.ID) {
					t.Errorf("Kill of connection %d: got 0, want 1", c.ID)
				}
			})
		}
	}
	t.Cleanup(h.close)
	close(begin)
	wg.Wait()
	for range n {
		wantReason(t, h.end(), conns.Killed)
	}
	wantState(t, h.gate, conns.GateState{Limit: 2 * n, Used: n, Peak: 2 * n})
	if c := h.sup.Counters(); c.Live != n || c.Ended[conns.Killed] != n || imbalance(c) != "" {
		t.Errorf("got %+v, want %d live and %d killed", c, n, n)
	}
	useSlots(t, h.gate, n) // all slots were released
	for range n {
		h.gate.Release()
	}
}

// Kill closes exactly the connections that Select returns for the same query.
func TestKillQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		for range 6 {
			h.start(plain, newStub(), readAll)
		}
		all := list(h.sup)
		for _, tc := range []struct {
			name string
			q    conns.Query
			want int
			left []int // of all
		}{
			{"the youngest", conns.Query{Reverse: true, Limit: 1}, 1, []int{0, 1, 2, 3, 4}},
			{"the second", conns.Query{Offset: 1, Limit: 1}, 1, []int{0, 2, 3, 4}},
			{"by id", conns.Query{ID: all[3].ID}, 1, []int{0, 2, 4}},
			{"by id, not matching", conns.Query{ID: all[4].ID, Match: func(*conns.Info) bool { return false }}, 0, []int{0, 2, 4}},
			{"matching", conns.Query{Match: func(i *conns.Info) bool { return i.ID != all[2].ID }}, 2, []int{2}},
			{"all", conns.Query{}, 1, nil},
		} {
			if got := h.sup.Kill(tc.q); got != tc.want {
				t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
			}
			synctest.Wait()
			var want, got []uint64
			for _, i := range tc.left {
				want = append(want, all[i].ID)
			}
			for _, c := range list(h.sup) {
				got = append(got, c.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: live connections (-want +got):\n%s", tc.name, diff)
			}
		}
		h.close()
	})
}
