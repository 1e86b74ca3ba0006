package admin_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
	"goranch/ranch/admin"
)

// many makes n connections more, which carry nothing.
func (h *house) many(n int) {
	h.t.Helper()
	l := h.listener("echo")
	l.SetMaxConnections(ranch.Unlimited)
	n += l.Info().AllConnections
	for range n - l.Info().AllConnections {
		nc, err := h.mem.Dial(context.Background(), "echo")
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { nc.Close() })
	}
	h.eventually("all are accepted", func() bool { return l.Info().AllConnections == n })
}

// Pages, which are found without sorting all, are what all that are sorted have at that place.
func TestPagesOfMany(t *testing.T) {
	h := open(t, admin.Options{})
	for n := range 20 {
		h.echoed(n * 7 % 20)
	}
	h.many(300)
	js := h.asJSON()
	for _, order := range []string{"--sort bytes", "--sort bytes --reverse", "--sort age", "--sort age --reverse", "--sort peer"} {
		ids := func(flags string) (ids []any) {
			a := js.json("connections listener=echo " + order + flags)
			if a.Total != 0 && a.Total != 320 {
				t.Errorf("%s: total %d", flags, a.Total)
			}
			for _, r := range a.rows(t) {
				ids = append(ids, r["id"])
			}
			return ids
		}
		all := ids(" --limit 1000")
		for _, page := range [][2]int{{0, 1}, {0, 7}, {5, 10}, {315, 10}, {319, 1}, {320, 1}} {
			want := all[page[0]:min(page[0]+page[1], len(all))]
			got := ids(fmt.Sprintf(" --offset %d --limit %d", page[0], page[1]))
			if diff := cmp.Diff(append([]any{}, want...), append([]any{}, got...)); diff != "" {
				t.Errorf("%s, page %v (-want +got):\n%s", order, page, diff)
			}
		}
	}
}

func BenchmarkConnections(b *testing.B) {
	h := open(b, admin.Options{})
	h.many(10_000)
	for _, request := range []string{"connections --sort bytes --limit 5", "connections --sort bytes --limit 5 peer=10.0.0.0/8", "connections --limit 1000"} {
		b.Run(request, func(b *testing.B) {
			js := h.asJSON()
			b.ReportAllocs()
			for b.Loop() {
				js.send(request)
				js.line()
			}
		})
	}
}

// What a page of 10,000 connections costs does not depend on how many there are.
func TestPageOfTenThousandAllocatesLittle(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("allocations are counted without the race detector, and not by -short")
	}
	h := open(t, admin.Options{})
	h.many(10_000)
	js := h.asJSON()
	js.json("connections --sort bytes --limit 5")
	const runs = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		js.send("connections --sort bytes --limit 5")
		js.line()
	}
	runtime.ReadMemStats(&after)
	n := (after.TotalAlloc - before.TotalAlloc) / runs
	if n > 200_000 { // 20 bytes for each connection; what is needed of it to sort all is 56
		t.Errorf("%d bytes", n)
	}
	t.Logf("%d bytes, %d allocations", n, (after.Mallocs-before.Mallocs)/runs)
}
