package main

import (
	"fmt"
	"math"
	"slices"
)

// confidence is the level of the intervals of all tables.
const confidence = 0.95

// ratio summarizes the ratios of the rounds. All fields are 0 without rounds.
type ratio struct {
	// Value is the estimate: the mean of the logarithms of the ratios, without the smallest and the
	// largest fifth of them, as a ratio.
	Value float64 `json:"ratio"`
	// Low and High are the ends of the confidence interval of Value. They are 0 if there are too
	// few rounds for one.
	Low    float64 `json:"low95,omitzero"`
	High   float64 `json:"high95,omitzero"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// known reports whether there is a confidence interval.
func (r ratio) known() bool { return r.Low > 0 }

// differs reports whether the confidence interval excludes 1.
func (r ratio) differs() bool { return r.known() && (r.Low > 1 || r.High < 1) }

// reach returns how far the interval extends from 1, in the direction in which it extends farther.
// An unknown interval extends infinitely far.
func (r ratio) reach() float64 {
	if !r.known() {
		return math.Inf(1)
	}
	return max(r.High, 1/r.Low) - 1
}

// interval formats the confidence interval; the format has two verbs.
func (r ratio) interval(format string) string {
	if !r.known() {
		return "-"
	}
	return fmt.Sprintf(format, r.Low, r.High)
}

// trimmed is the share of the ratios that the estimate leaves out at each end: one round in which
// the machine was disturbed must not decide.
const trimmed = 0.2

// minRounds is the least number of ratios for an interval. Of two, it would be useless: from a
// hundredth to a hundred times the estimate.
const minRounds = 3

// ratioOf estimates a ratio from one positive value per round, at a confidence level. The method is
// Yuen's: the trimmed mean of the logarithms, with Student's distribution and the winsorized
// variance. With fewer than five rounds nothing is trimmed, which is the usual interval of Student.
func ratioOf(ratios []float64, level float64) ratio {
	s := spreadOf(ratios)
	r := ratio{Median: s.Median, Min: s.Min, Max: s.Max}
	n := len(ratios)
	if n == 0 {
		return r
	}
	logs := make([]float64, n)
	for i, v := range ratios {
		logs[i] = math.Log(v)
	}
	slices.Sort(logs)
	cut := int(trimmed * float64(n))
	kept := logs[cut : n-cut]
	center := mean(kept)
	r.Value = math.Exp(center)
	if len(kept) < minRounds {
		return r
	}
	for i := range cut { // winsorize
		logs[i], logs[n-1-i] = kept[0], kept[len(kept)-1]
	}
	h := float64(len(kept))
	deviation := math.Sqrt(squares(logs) / (h * (h - 1)))
	half := tQuantile(1-(1-level)/2, h-1) * deviation
	r.Low, r.High = math.Exp(center-half), math.Exp(center+half)
	return r
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// squares returns the sum of the squared distances from the mean.
func squares(values []float64) float64 {
	m, sum := mean(values), 0.0
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	return sum
}

// tQuantile returns the quantile p of Student's distribution, for p from 0.5 to below 1.
func tQuantile(p, freedom float64) float64 {
	low, high := 0.0, 1.0
	for tCDF(high, freedom) < p && high < 1e9 {
		high *= 2
	}
	for range 100 {
		if mid := (low + high) / 2; tCDF(mid, freedom) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// tCDF is the cumulative distribution function of Student's distribution for t of at least 0.
func tCDF(t, freedom float64) float64 {
	return 1 - betaShare(freedom/(freedom+t*t), freedom/2, 0.5)/2
}

// betaShare is the regularized incomplete beta function, by its continued fraction.
func betaShare(x, a, b float64) float64 {
	if x <= 0 || x >= 1 {
		return min(max(x, 0), 1)
	}
	if x > (a+1)/(a+b+2) { // where the fraction converges slowly
		return 1 - betaShare(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log(1-x)) / a
	// The method of Lentz evaluates the fraction from its first term.
	const tiny = 1e-300
	c, d := 1.0, 1/nonZero(1-(a+b)*x/(a+1), tiny)
	f := d
	for m := 1.0; m < 500; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/nonZero(1+even*d, tiny), nonZero(1+even/c, tiny)
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/nonZero(1+odd*d, tiny), nonZero(1+odd/c, tiny)
		step := d * c
		f *= step
		if math.Abs(step-1) < 1e-14 {
			break
		}
	}
	return front * f
}

func nonZero(v, tiny float64) float64 {
	if math.Abs(v) < tiny {
		return tiny
	}
	return v
}
