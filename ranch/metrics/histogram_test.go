package metrics_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/testing/protocmp"

	"goranch/conns"
	"goranch/ranch/metrics"
)

// The metric equals that of the Prometheus library for the same observations, with native and with
// classic buckets.
func TestHistogramIsThatOfPrometheus(t *testing.T) {
	var bounds []float64
	for exp := -11; exp <= 5; exp++ {
		bounds = append(bounds, math.Ldexp(1, exp))
	}
	for name, buckets := range map[string][]int{
		"empty": nil, "one": {0}, "neighbours": {79, 80, 80, 81}, "small gaps": {10, 12, 15}, "large gaps": {1, 50, 100, 179},
	} {
		t.Run(name, func(t *testing.T) {
			var h conns.Histogram
			want := prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "test_seconds", Help: "A test.", Buckets: bounds,
				NativeHistogramBucketFactor: 1.2, NativeHistogramZeroThreshold: h.ZeroBound(),
			})
			if buckets != nil {
				h.Zero, h.Count = 1, 1
				want.Observe(0)
			}
			for _, i := range buckets {
				h.Buckets[i]++
				h.Count++
				h.Sum += h.Bound(i)
				want.Observe(h.Bound(i))
			}
			var got, ref dto.Metric
			if err := metrics.NewHistogram(&h).Write(&got); err != nil {
				t.Fatal(err)
			}
			if err := want.Write(&ref); err != nil {
				t.Fatal(err)
			}
			ref.Histogram.CreatedTimestamp = nil
			if diff := cmp.Diff(&ref, &got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
