package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"goranch/conns"
)

// powers are the bounds of a classic histogram: 2 to the power of from, and of each step after it,
// up to to. A power of two is also a bound of the native histogram, so both are exact.
type powers struct{ from, to, step int }

// histogram is a histogram with native and classic buckets.
type histogram struct {
	prometheus.Metric // with native buckets
	classic           []*dto.Bucket
}

func newHistogram(d *prometheus.Desc, h *conns.Histogram, bounds powers, labels ...string) prometheus.Metric {
	native := make(map[int]int64)
	for i, n := range h.Buckets {
		if n > 0 {
			native[conns.HistogramOffset+i] = int64(n)
		}
	}
	return histogram{
		prometheus.MustNewConstNativeHistogram(d, h.Count, h.Sum, native, nil, h.Zero, conns.HistogramSchema, h.ZeroBound(),
			time.Time{}, labels...),
		bounds.buckets(h),
	}
}

// Write implements prometheus.Metric.
func (h histogram) Write(to *dto.Metric) error {
	if err := h.Metric.Write(to); err != nil {
		return err
	}
	to.Histogram.Bucket = h.classic
	to.Histogram.CreatedTimestamp = nil // it is not known
	return nil
}

// buckets returns the cumulative counts up to each bound.
func (p powers) buckets(h *conns.Histogram) []*dto.Bucket {
	var buckets []*dto.Bucket
	n, i := h.Zero, 0
	for exp := p.from; exp <= p.to; exp += p.step {
		bound := math.Ldexp(1, exp)
		for ; i < len(h.Buckets) && h.Bound(i) <= bound; i++ {
			n += h.Buckets[i]
		}
		count := n
		buckets = append(buckets, &dto.Bucket{CumulativeCount: &count, UpperBound: &bound})
	}
	return buckets
}
