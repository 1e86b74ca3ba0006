package bots

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"goranch/internal/loadgen"
)

// quantiles summarizes durations in microseconds.
type quantiles struct {
	Min int64 `json:"min_us"`
	P50 int64 `json:"p50_us"`
	P99 int64 `json:"p99_us"`
	Max int64 `json:"max_us"`
}

// quantilesOf returns exact quantiles, and nil without values. It sorts us.
func quantilesOf(us []int32) *quantiles {
	if len(us) == 0 {
		return nil
	}
	slices.Sort(us)
	at := func(share float64) int64 { return int64(loadgen.Percentile(us, share)) }
	return &quantiles{Min: at(0), P50: at(0.5), P99: at(0.99), Max: at(1)}
}

// latencies are all durations of a run. Minimum and maximum are exact, quantiles are within 0.1 %.
type latencies struct {
	hist     *hdrhistogram.Histogram // nil: no values
	min, max int64
}

func (l *latencies) add(us []int32) {
	for _, t := range us {
		t := int64(t)
		if l.hist == nil {
			l.hist, l.min, l.max = hdrhistogram.New(1, int64(2*maxTimeout/time.Microsecond), 3), t, t
		}
		l.min, l.max = min(l.min, t), max(l.max, t)
		l.hist.RecordValue(max(0, min(t, l.hist.HighestTrackableValue())))
	}
}

func (l *latencies) quantiles() *quantiles {
	if l.hist == nil {
		return nil
	}
	within := func(q float64) int64 { return max(l.min, min(l.hist.ValueAtQuantile(q), l.max)) }
	return &quantiles{Min: l.min, P50: within(50), P99: within(99), Max: l.max}
}

// bucket counts durations from FromUS up to, not including, ToUS.
type bucket struct {
	FromUS int64 `json:"from_us"`
	ToUS   int64 `json:"to_us"`
	Count  int64 `json:"count"`
}

const coarseStep = 500_000 // microseconds

// fineSteps divide each power of ten.
var fineSteps = []int64{1, 2, 5}

// fineBucket returns the bounds of the bucket of a duration.
func fineBucket(us int64) (from, to int64) {
	if us < 1 {
		return 0, 1
	}
	for ten := int64(1); ; ten *= 10 {
		for i, step := range fineSteps {
			next := 10 * ten
			if i+1 < len(fineSteps) {
				next = fineSteps[i+1] * ten
			}
			if us < next {
				return step * ten, next
			}
		}
	}
}

// buckets is a histogram, sorted. It has no empty buckets.
type buckets []bucket

func (b *buckets) add(from, to int64) {
	i, found := slices.BinarySearchFunc(*b, from, func(x bucket, from int64) int { return int(x.FromUS - from) })
	if !found {
		*b = slices.Insert(*b, i, bucket{FromUS: from, ToUS: to})
	}
	(*b)[i].Count++
}
