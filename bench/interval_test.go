package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestStudentQuantiles(t *testing.T) {
	for _, c := range []struct{ p, freedom, want float64 }{ // from printed tables
		{0.975, 1, 12.706}, {0.975, 2, 4.303}, {0.975, 4, 2.776}, {0.975, 9, 2.262},
		{0.995, 5, 4.032}, {0.95, 30, 1.697}, {0.975, 1000, 1.962}, {0.5, 3, 0},
	} {
		if got := tQuantile(c.p, c.freedom); math.Abs(got-c.want) > 0.0006 {
			t.Errorf("tQuantile(%v, %v): got %.4f, want %.3f", c.p, c.freedom, got, c.want)
		}
	}
}

// The expected ends were computed by hand: mean log 0, deviation of the mean ln(2)/sqrt(3), 4.303.
func TestRatioOfKnownSample(t *testing.T) {
	got := ratioOf([]float64{0.5, 1, 2}, confidence)
	half := 4.3027 * math.Ln2 / math.Sqrt(3)
	if math.Abs(got.Value-1) > 1e-9 || math.Abs(math.Log(got.High)-half) > 1e-3 || math.Abs(math.Log(got.Low)+half) > 1e-3 {
		t.Errorf("got %+v, want 1 from %.4f to %.4f", got, math.Exp(-half), math.Exp(half))
	}
	if got.Median != 1 || got.Min != 0.5 || got.Max != 2 || got.differs() {
		t.Errorf("got %+v, want median 1, range 0.5 to 2, no difference from 1", got)
	}
}

func TestRatioOfFewRounds(t *testing.T) {
	if got := ratioOf(nil, confidence); got != (ratio{}) {
		t.Errorf("no rounds: got %+v, want zeros", got)
	}
	got := ratioOf([]float64{1.5}, confidence)
	if got.known() || math.Abs(got.Value-1.5) > 1e-12 || !math.IsInf(got.reach(), 1) {
		t.Errorf("one round: got %+v, want 1.5 and no interval", got)
	}
}

// One disturbed round of seven does not decide the estimate.
func TestOutlierIsTrimmed(t *testing.T) {
	got := ratioOf([]float64{1.00, 1.01, 0.99, 1.00, 1.01, 0.99, 3}, confidence)
	if math.Abs(got.Value-1) > 0.01 || got.High > 1.03 {
		t.Errorf("got %+v, want 1.00 with an interval of less than 3 %%", got)
	}
}

// Of many runs with a known true ratio, about 95 % have an interval that contains it.
func TestIntervalCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const runs, truth = 4000, 1.07
	for _, rounds := range []int{3, 5, 7, 10} {
		covered := 0
		for range runs {
			ratios := make([]float64, rounds)
			for i := range ratios {
				ratios[i] = truth * math.Exp(0.05*rng.NormFloat64())
			}
			if r := ratioOf(ratios, confidence); r.Low <= truth && truth <= r.High {
				covered++
			}
		}
		if share := float64(covered) / runs; share < 0.93 || share > 0.98 {
			t.Errorf("%d rounds: got %.3f of the intervals with the true ratio, want 0.93 to 0.98", rounds, share)
		}
	}
}
