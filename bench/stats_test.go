package main

import (
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{3, 1, 2}, spread{2, 1, 3}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.in); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	values := []int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for p, want := range map[float64]int64{0: 1, 0.1: 1, 0.5: 5, 0.9: 9, 0.91: 10, 1: 10} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile(%v) = %d, want %d", p, got, want)
		}
	}
	if got := percentile([]int64(nil), 0.5); got != 0 {
		t.Errorf("percentile of nothing = %d, want 0", got)
	}
}

// A slow round must not show in the ratio when it was slow for both.
func TestRatiosArePairedWithinRounds(t *testing.T) {
	value := map[int]float64{1: 10, 2: 40, 3: 12, 4: 99}
	base := map[int]float64{1: 5, 2: 20, 3: 6, 5: 1}
	if got, want := pairedRatios(value, base), []float64{2, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("pairedRatios = %v, want %v", got, want)
	}
}

func TestSummariseLeavesFailuresOut(t *testing.T) {
	w := workload{name: "w", kind: kindEcho, bases: []string{"bare"}}
	res := summarise(w, []sample{
		{Engine: "bare", Round: 1, Value: 2}, {Engine: "x", Round: 1, Value: 3},
		{Engine: "bare", Round: 2, Value: 4}, {Engine: "x", Round: 2, Error: "broke"},
	})
	if len(res.Engines) != 2 || len(res.Failed) != 1 {
		t.Fatalf("got %d engines and failures %q, want 2 and one", len(res.Engines), res.Failed)
	}
	x := res.Engines[1]
	if x.Rounds != 1 || x.Value.Median != 3 || x.Ratios["bare"] != (spread{1.5, 1.5, 1.5}) {
		t.Errorf("engine x = %+v, want one round, value 3, ratio 1.5", x)
	}
}
