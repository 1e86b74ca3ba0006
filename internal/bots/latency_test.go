package bots

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFineBuckets(t *testing.T) {
	for _, tt := range []struct{ us, from, to int64 }{
		{0, 0, 1}, {1, 1, 2}, {2, 2, 5}, {4, 2, 5}, {5, 5, 10}, {9, 5, 10}, {10, 10, 20}, {499_999, 200_000, 500_000}, {500_000, 500_000, 1_000_000},
	} {
		if from, to := fineBucket(tt.us); from != tt.from || to != tt.to {
			t.Errorf("fineBucket(%d): got %d..%d, want %d..%d", tt.us, from, to, tt.from, tt.to)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var us []int32
	for i := range int32(1000) {
		us = append(us, 1000-i)
	}
	want := &quantiles{Min: 1, P50: 500, P99: 990, Max: 1000}
	if diff := cmp.Diff(want, quantilesOf(us)); diff != "" {
		t.Errorf("exact (-want +got):\n%s", diff)
	}
	var l latencies
	l.add(us)
	if got := l.quantiles(); got.Min != 1 || got.Max != 1000 || got.P50 < 499 || got.P50 > 501 || got.P99 < 989 || got.P99 > 991 {
		t.Errorf("histogram: got %+v, want %+v within 2", got, want)
	}
}
