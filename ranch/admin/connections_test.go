package admin_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/echo"
	"goranch/ranch/admin"
)

// The connections of several listeners are sorted together.
func TestOrderAcrossListeners(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	s.start("other", echo.Protocol{})
	for n := range 6 {
		nc := s.dial([]string{"echo", "other"}[n%2])
		roundTrip(t, nc, strings.Repeat("x", 10*(n+1)))
	}
	js := s.jsonClient()
	for request, want := range map[string][]float64{
		"connections read>5 listener!=shell --sort read":         {60, 50, 40, 30, 20, 10},
		"connections listener!=shell --sort read --reverse":      {10, 20, 30, 40, 50, 60},
		"connections listener!=shell --sort read --limit 2":      {60, 50},
		"connections listener!=shell --limit 2 --offset 1":       {20, 30},
		"connections listener!=shell --offset 5":                 {60},
		"connections listener!=shell --offset 9":                 nil,
		"connections listener=other and read>=40 --sort written": {60, 40},
	} {
		var got []float64
		for _, r := range js.json(request).rows(t) {
			got = append(got, r["read"].(float64))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", request, diff)
		}
	}
	if _, err := admin.ParseFilter("state=" + "closed"); err == nil {
		t.Error("filter state=closed of live connections: got no error, want one")
	}
}

// A page, which is found without sorting all connections, is the same as that part of the sorted
// list.
func TestPages(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	for n := range 20 {
		s.echoConnection(n * 7 % 20)
	}
	s.idleConnections(300)
	js := s.jsonClient()
	for _, order := range []string{"--sort bytes", "--sort bytes --reverse", "--sort age", "--sort age --reverse", "--sort peer"} {
		ids := func(flags string) (ids []any) {
			a := js.json("connections listener=echo " + order + flags)
			if a.Total != 0 && a.Total != 320 {
				t.Errorf("%s: got total %d, want 320", flags, a.Total)
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
				t.Errorf("%s, offset and limit %v: (-want +got):\n%s", order, page, diff)
			}
		}
	}
}

func BenchmarkConnections(b *testing.B) {
	s := newTestServer(b, admin.Options{})
	s.idleConnections(10_000)
	for _, request := range []string{"connections --sort bytes --limit 5", "connections --sort bytes --limit 5 peer=10.0.0.0/8", "connections --limit 1000"} {
		b.Run(request, func(b *testing.B) {
			js := s.jsonClient()
			b.ReportAllocs()
			for b.Loop() {
				js.send(request)
				js.line()
			}
		})
	}
}

// The memory for a short page of 10,000 connections is far less than for sorting all of them.
func TestPageAllocations(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("skipped with -race, which changes allocations, and with -short; run: go test ./ranch/admin -run PageAllocations")
	}
	s := newTestServer(t, admin.Options{})
	s.idleConnections(10_000)
	js := s.jsonClient()
	js.json("connections --sort bytes --limit 5")
	const runs, limit = 20, 200_000 // 20 bytes for each connection; sorting all would take 56
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		js.send("connections --sort bytes --limit 5")
		js.line()
	}
	runtime.ReadMemStats(&after)
	got := (after.TotalAlloc - before.TotalAlloc) / runs
	if got > limit {
		t.Errorf("allocated: got %d bytes, want at most %d", got, limit)
	}
	t.Logf("%d bytes, %d allocations", got, (after.Mallocs-before.Mallocs)/runs)
}
