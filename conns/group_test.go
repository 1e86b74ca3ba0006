package conns_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"goranch/conns"
)

// newGroup returns gates that share a limit.
func newGroup(t testing.TB, limit, gates int) (*conns.Shared, []*conns.Gate) {
	t.Helper()
	s, err := conns.NewShared(conns.SharedLimits{MaxConnections: limit})
	if err != nil {
		t.Fatal(err)
	}
	var all []*conns.Gate
	for range gates {
		g := s.NewGate(1 << 30)
		g.Join(func() {}, func() bool { return false })
		all = append(all, g)
	}
	return s, all
}

// However many goroutines use the gates, all slots together never exceed the limit in force when
// they were taken.
func TestGroupUnderLoad(t *testing.T) {
	const limit, gates, workers, each = 5, 3, 4, 300
	s, all := newGroup(t, limit, gates)
	var used, most atomic.Int64
	var wg sync.WaitGroup
	for _, g := range all {
		for range workers {
			wg.Go(func() {
				for i := range each {
					ctx, cancel := context.WithCancel(bg)
					if i%7 == 0 {
						cancel()
					}
					if g.Reserve(ctx) == nil {
						if i%3 == 0 || g.Confirm(bg) != nil {
							g.Cancel()
						} else {
							n := used.Add(1)
							for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
							}
							used.Add(-1)
							g.Release()
						}
					}
					cancel()
				}
			})
		}
	}
	wg.Wait()
	if st := s.State(); st.Used != 0 || st.Reserved != 0 || st.Waiting != 0 || st.Peak > limit {
		t.Errorf("got %+v, want no slot used and a peak of at most %d", st, limit)
	}
	if got := most.Load(); got > limit {
		t.Errorf("got %d slots used at once, want at most %d", got, limit)
	}
}

// Free slots go to the gates in turn, and within a gate to the oldest waiter.
func TestGroupServesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newGroup(t, 1, 3)
		var l passLog
		useSlots(t, all[0], 1)
		for g, n := range []int{3, 1, 2} {
			for i := range n {
				l.enqueue(fmt.Sprintf("%c%d", 'a'+g, i), all[g].Reserve, bg)
			}
		}
		l.enqueue("pending c", func(ctx context.Context) error { return all[2].ReservePending(ctx, nil) }, bg)
		want := []string{"pending c", "a0", "b0", "c0", "a1", "c1", "a2"}
		all[0].Release()
		for i := range want {
			l.want(t, want[:i+1]...)
			for _, g := range all {
				if g.State().Reserved > 0 {
					g.Cancel()
					break
				}
			}
		}
	})
}

// A gate that has left does not take part; its slots in use still count until they are released.
func TestGroupLeave(t *testing.T) {
	s, all := newGroup(t, 2, 2)
	useSlots(t, all[0], 2)
	all[0].Leave()
	all[0].Leave()
	if all[1].TryReserve() {
		t.Error("got a slot while a gate that has left uses all, want none")
	}
	all[0].Release()
	if !all[1].TryReserve() {
		t.Error("got no slot after the release, want one")
	}
	if st := s.State(); st.Gates != 1 || st.Used != 1 || st.Reserved != 1 {
		t.Errorf("got %+v, want 1 gate, 1 used and 1 reserved", st)
	}
	alone := conns.NewGate(1)
	alone.Join(nil, nil)
	alone.TakeOver()
	if alone.Wanted() || alone.Starves() {
		t.Error("a gate without a group: got Wanted or Starves, want neither")
	}
	alone.Leave()
}

func BenchmarkGroup(b *testing.B) {
	for _, gates := range []int{1, 10} {
		b.Run(fmt.Sprintf("gates=%d", gates), func(b *testing.B) {
			_, all := newGroup(b, 1<<20, gates)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				g := all[i%gates]
				if g.Reserve(bg) != nil || !g.TryConfirm() {
					b.Fatal("got no slot, want one")
				}
				g.Release()
			}
		})
	}
}
