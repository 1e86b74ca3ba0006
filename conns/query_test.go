package conns_test

import (
	"context"
	"math"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/transport"
)

// Select describes connections in the handshake and those no longer counted, too.
func TestSelect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		if got := list(h.sup); len(got) != 0 {
			t.Errorf("new supervisor: got %v, want no connections", got)
		}
		silent := fake{shake: func(ctx context.Context, _ net.Conn) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}
		begin := time.Now()
		h.start(plain, newStub(), func(ctx context.Context, c *transport.Conn) error {
			c.Write([]byte("hello"))
			conns.Remove(c)
			return untilCancelled(ctx, c)
		})
		time.Sleep(time.Second)
		h.start(silent, newStub(), readAll)
		synctest.Wait()

		got := list(h.sup)
		if len(got) != 2 || got[0].ID >= got[1].ID {
			t.Fatalf("got %+v, want two connections, oldest first", got)
		}
		want := []conns.Info{
			{ID: got[0].ID, Transport: "tcp", RemoteAddr: stubAddr("remote"), LocalAddr: stubAddr("local"), Since: begin,
				Served: true, Stats: transport.Stats{Writes: 1, BytesWritten: 5}},
			{ID: got[1].ID, Transport: "fake", RemoteAddr: stubAddr("remote"), LocalAddr: stubAddr("local"), Since: begin.Add(time.Second),
				Counted: true},
		}
		protocols := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Protocol" }, cmp.Ignore())
		if diff := cmp.Diff(want, got, protocols); diff != "" {
			t.Errorf("Select (-want +got):\n%s", diff)
		}
		for i, state := range []string{"serving", "handshaking"} {
			if s := got[i].State(); s != state {
				t.Errorf("connection %d: got state %q, want %q", i, s, state)
			}
		}
		for i, info := range got {
			if info.Protocol == nil {
				t.Errorf("connection %d: got no protocol, want one", i)
			}
			one, ok := get(h.sup, info.ID)
			if diff := cmp.Diff(want[i], one, protocols); !ok || diff != "" {
				t.Errorf("Select by id %d: got %t, want true (-want +got):\n%s", info.ID, ok, diff)
			}
		}
		h.close()
	})
}

// Select and Kill by id find live connections only.
func TestSelectAndKillByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		for range 2 {
			h.start(plain, newStub(), readAll)
		}
		got := list(h.sup)
		first, second := got[0].ID, got[1].ID
		for _, unknown := range []uint64{second + 1, first + 1<<40} {
			if _, ok := get(h.sup, unknown); ok {
				t.Errorf("Select by id %d: got a connection, want none", unknown)
			}
			if kill(h.sup, unknown) {
				t.Errorf("Kill of id %d: got 1, want 0", unknown)
			}
		}
		if !kill(h.sup, first) {
			t.Errorf("Kill of id %d: got 0, want 1", first)
		}
		if end := h.end(); end.Conn.ID() != first || end.Reason != conns.Killed {
			t.Errorf("got the end of %d, %q, want %d, %q", end.Conn.ID(), end.Reason, first, conns.Killed)
		}
		if kill(h.sup, first) {
			t.Error("second Kill: got 1, want 0")
		}
		if _, ok := get(h.sup, first); ok {
			t.Error("Select by id after the end: got a connection, want none")
		}
		if got := list(h.sup); len(got) != 1 || got[0].ID != second {
			t.Errorf("got %+v, want connection %d only", got, second)
		}
		h.close()
	})
}

// Connections end in any order; Select returns exactly those that live, oldest first.
func TestSelectAfterEndsInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, math.MaxInt, 0)
		const n = 200 // several in each shard
		for range n {
			h.start(plain, newStub(), untilCancelled)
		}
		synctest.Wait()
		var want []uint64
		for i, c := range list(h.sup) {
			if i%3 == 1 || i%7 == 0 {
				kill(h.sup, c.ID)
			} else {
				want = append(want, c.ID)
			}
		}
		synctest.Wait()
		var got []uint64
		for _, c := range list(h.sup) {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Select (-want +got):\n%s", diff)
		}
		if !slices.IsSorted(got) {
			t.Errorf("got ids %v, want them sorted", got)
		}
		h.close()
	})
}

// A page is as large as its Limit, however large that is.
func TestSelectLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, math.MaxInt, 0)
		const n = 200
		for range n {
			h.start(plain, newStub(), untilCancelled)
		}
		first := list(h.sup)[0].ID
		for _, tc := range []struct{ offset, limit, want int }{
			{0, 0, n}, {0, 1, 1}, {0, n, n}, {n - 1, 10, 1}, {n, 10, 0}, {-5, 3, 3},
			{0, math.MaxInt, n}, {10, math.MaxInt, n - 10}, {0, math.MaxInt/2 + 1, n}, {math.MaxInt, math.MaxInt, 0},
		} {
			page, total := h.sup.Select(conns.Query{Offset: tc.offset, Limit: tc.limit})
			if len(page) != tc.want || total != n {
				t.Errorf("offset %d, limit %d: got %d of %d, want %d of %d", tc.offset, tc.limit, len(page), total, tc.want, n)
			}
			if len(page) > 0 && page[0].ID < first+uint64(max(tc.offset, 0)) {
				t.Errorf("offset %d: got id %d first, want at least %d", tc.offset, page[0].ID, first+uint64(tc.offset))
			}
		}
		h.close()
	})
}
