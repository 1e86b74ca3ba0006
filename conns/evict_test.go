package conns_test

import (
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
)

// Evict considers connections that are counted and were not asked to stop, and asks the oldest
// first.
func TestEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		h.sup.Set(conns.Settings{Grace: time.Minute})
		for range 5 {
			h.start(plain, newStub(), untilSocketCloses)
		}
		synctest.Wait()
		all := list(h.sup)
		h.sup.Evict(conns.EvictOldest, func(int) int { return 1 })
		for _, tc := range []struct {
			policy conns.EvictionPolicy
			n      int
			want   int
		}{
			{conns.EvictNone, 2, 0},
			{conns.EvictOldest, -1, 0},
			{conns.EvictOldest, 0, 0},
			{conns.EvictOldest, 2, 2},
			{conns.EvictRandom, 5, 2},
			{conns.EvictMostIdle, 5, 0},
		} {
			if got := h.sup.Evict(tc.policy, func(int) int { return tc.n }); got != tc.want {
				t.Errorf("Evict of %d, %v: got %d, want %d", tc.n, tc.policy, got, tc.want)
			}
			for i, c := range list(h.sup) {
				if tc.policy == conns.EvictOldest && tc.n == 2 && c.Ending != (i < 3) {
					t.Errorf("connection %d of %d: got ending %t, want the oldest 3 only", i, len(all), c.Ending)
				}
			}
		}
		h.close()
		if got := h.sup.Counters().Ended[conns.Aborted]; got != 5 { // Drain closes before the grace has passed
			t.Errorf("got %d Aborted, want 5", got)
		}
	})
}
