package main

import (
	"fmt"
	"math"
)

// Rounds of a comparison measure the first revision, the second, and the first once more. Both
// processes of the first revision run the same executable, so that their ratio shows the noise of
// the run.
type trial struct {
	first, second, again float64
}

// comparison is the result for one workload and engine.
type comparison struct {
	Workload string `json:"workload"`
	Engine   string `json:"engine"`
	Metric   string `json:"metric"`
	Rounds   int    `json:"rounds"`
	// Change is the second revision ÷ the first, Noise the first ÷ itself.
	Change ratio `json:"change"`
	Noise  ratio `json:"noise"`
	// Detectable is the smallest slowdown that this run would have reported, as a share.
	Detectable float64 `json:"detectable"`
	Verdict    verdict `json:"verdict"`
	level      float64
}

// verdict is what a comparison shows.
type verdict string

const (
	slower    verdict = "slower"
	faster    verdict = "faster"
	same      verdict = "no difference"
	uncertain verdict = "too noisy" // a slowdown of maxDetectable would not have been reported
)

// maxDetectable is the slowdown that a useful run must be able to report.
const maxDetectable = 0.1

// judge compares at a confidence level. The second revision is slower if the confidence interval of
// its ratio is above 1 and the ratio is above both what the first revision shows against itself, to
// the far end of its confidence interval, and the tolerance. The same holds for faster.
func judge(trials []trial, level, tolerance float64) comparison {
	change, noise := make([]float64, len(trials)), make([]float64, len(trials))
	for i, t := range trials {
		change[i] = t.second / math.Sqrt(t.first*t.again)
		noise[i] = t.again / t.first
	}
	c := comparison{Rounds: len(trials), Change: ratioOf(change, level), Noise: ratioOf(noise, level), level: level}
	margin := max(tolerance, c.Noise.reach())
	c.Detectable = max(margin, math.Sqrt(c.Change.High/c.Change.Low)-1)
	switch {
	case !c.Change.known():
		c.Detectable = math.Inf(1)
		c.Verdict = uncertain
	case c.Change.Low > 1 && c.Change.Value > 1+margin:
		c.Verdict = slower
	case c.Change.High < 1 && c.Change.Value < 1/(1+margin):
		c.Verdict = faster
	case c.Detectable > max(maxDetectable, tolerance):
		c.Verdict = uncertain
	default:
		c.Verdict = same
	}
	return c
}

// familyLevel is the confidence level of each of n comparisons with which all together are at the
// level confidence (Bonferroni): else one of twenty would fail by chance.
func familyLevel(n int) float64 { return 1 - (1-confidence)/float64(max(n, 1)) }

func (c comparison) String() string {
	return fmt.Sprintf("%s %s: %.3f (%.3f to %.3f), noise %.3f to %.3f: %s",
		c.Workload, c.Engine, c.Change.Value, c.Change.Low, c.Change.High, c.Noise.Low, c.Noise.High, c.Verdict)
}
