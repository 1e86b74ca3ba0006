package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"goranch/conns"
)

// NewHistogram returns the metric for h with the classic buckets of handshakes.
func NewHistogram(h *conns.Histogram) prometheus.Metric {
	return newHistogram(prometheus.NewDesc("test_seconds", "A test.", nil, nil), h, handshakeBuckets)
}

// Descriptions returns the descriptions of all metrics.
func Descriptions() []*prometheus.Desc { return slices.Clone(descriptions) }
