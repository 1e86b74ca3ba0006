package main

import (
	"math"
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
			t.Errorf("spreadOf(%v): got %v, want %v", c.in, got, c.want)
		}
	}
}

// A round that was slow for both engines does not affect the ratio.
func TestRatiosArePairedWithinRounds(t *testing.T) {
	value := map[int]float64{1: 10, 2: 40, 3: 12, 4: 99}
	base := map[int]float64{1: 5, 2: 20, 3: 6, 5: 1}
	if got, want := pairedRatios(value, base), []float64{2, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("pairedRatios: got %v, want %v", got, want)
	}
}

func TestSummarizeExcludesFailures(t *testing.T) {
	w := workload{name: "w", kind: kindEcho, bases: []string{"bare"}}
	res := summarize(w, []sample{
		{Engine: "bare", Round: 1, Value: 2}, {Engine: "x", Round: 1, Value: 3},
		{Engine: "bare", Round: 2, Value: 4}, {Engine: "x", Round: 2, Error: "broke"},
	})
	if len(res.Engines) != 2 || len(res.Failed) != 1 {
		t.Fatalf("got %d engines and failures %q, want 2 engines and one failure", len(res.Engines), res.Failed)
	}
	x := res.Engines[1]
	if x.Rounds != 1 || x.Value.Median != 3 || math.Abs(x.Ratios["bare"].Value-1.5) > 1e-12 {
		t.Errorf("engine x: got %+v, want one round, value 3, ratio 1.5", x)
	}
}
