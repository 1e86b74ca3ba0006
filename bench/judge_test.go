package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sampleTrials returns synthetic rounds. The machine's speed changes from round to round by a
// factor of up to two; each measurement has noise of its own, and one of twenty is disturbed.
func sampleTrials(rng *rand.Rand, rounds int, change, noise float64) []trial {
	trials := make([]trial, rounds)
	for i := range trials {
		speed := math.Exp(rng.Float64() * math.Ln2)
		measure := func(cost float64) float64 {
			v := cost * speed * math.Exp(noise*rng.NormFloat64())
			if rng.IntN(20) == 0 {
				v *= 1.3
			}
			return v
		}
		trials[i] = trial{first: measure(10), second: measure(10 * change), again: measure(10)}
	}
	return trials
}

// A slowdown of 10 % is reported, no change is not, and what the noise hides is called so.
func TestJudgeSyntheticRuns(t *testing.T) {
	const runs = 400
	for _, c := range []struct {
		name           string
		change, noise  float64
		rounds         int
		want           verdict
		least, atMost  float64 // share of the runs with that verdict
		slower, faster float64 // highest share of these verdicts, where not wanted
	}{
		{"10 % slower", 1.10, 0.01, 10, slower, 0.9, 1, 1, 0},
		{"10 % slower, more rounds", 1.10, 0.02, 20, slower, 0.9, 1, 1, 0},
		{"10 % faster", 1 / 1.10, 0.01, 10, faster, 0.9, 1, 0, 1},
		{"no change", 1, 0.01, 10, same, 0.8, 1, 0.01, 0.01},
		{"no change, noisy", 1, 0.10, 10, uncertain, 0.7, 1, 0.01, 0.01},
		{"10 % slower, noisy", 1.10, 0.15, 7, uncertain, 0.9, 1, 0.1, 0.01},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			share := make(map[verdict]float64)
			for range runs {
				share[judge(sampleTrials(rng, c.rounds, c.change, c.noise), familyLevel(1), 0.01).Verdict] += 1.0 / runs
			}
			if got := share[c.want]; got < c.least || got > c.atMost {
				t.Errorf("got verdict %q in %.3f of the runs, want at least %.2f (all: %v)", c.want, got, c.least, share)
			}
			if c.want != slower && share[slower] > c.slower || c.want != faster && share[faster] > c.faster {
				t.Errorf("got verdicts %v, want at most %.2f slower and %.2f faster", share, c.slower, c.faster)
			}
		})
	}
}

func TestJudgeKnownSamples(t *testing.T) {
	even := []trial{{10, 10, 10}, {20, 20.1, 20}, {11, 11, 11.1}, {10, 10.1, 10.05}}
	slow := []trial{{10, 11, 10}, {20, 22.1, 20}, {11, 12.1, 11.1}, {10, 11.1, 10.05}}
	drift := []trial{{10, 11, 12}, {20, 22, 24}, {11, 12, 13}, {10, 11, 12}} // the machine slows down in each round
	for _, c := range []struct {
		name      string
		trials    []trial
		tolerance float64
		want      verdict
	}{
		{"even", even, 0.01, same},
		{"slow", slow, 0.01, slower},
		{"slow within the tolerance", slow, 0.2, same},
		{"drift is noise", drift, 0.01, uncertain},
		{"too few rounds", slow[:2], 0.01, uncertain},
	} {
		if got := judge(c.trials, confidence, c.tolerance); got.Verdict != c.want {
			t.Errorf("%s: got %v, want %s", c.name, got, c.want)
		}
	}
}

func TestFamilyLevel(t *testing.T) {
	for n, want := range map[int]float64{0: 0.95, 1: 0.95, 5: 0.99} {
		if got := familyLevel(n); math.Abs(got-want) > 1e-12 {
			t.Errorf("familyLevel(%d): got %v, want %v", n, got, want)
		}
	}
}

// A machine that becomes slower throughout each round does not change the ratio.
func TestJudgeCancelsDrift(t *testing.T) {
	got := judge([]trial{{10, 11, 12}, {20, 22, 24}, {10, 11, 12}}, confidence, 0.01)
	if math.Abs(got.Change.Value-1) > 0.005 || math.Abs(got.Noise.Value-1.2) > 1e-9 {
		t.Errorf("got change %.3f and noise %.3f, want 1.004 and 1.2", got.Change.Value, got.Noise.Value)
	}
}
