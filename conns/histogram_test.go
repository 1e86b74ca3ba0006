package conns_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
)

// Each time is in the bucket whose bounds contain it.
func TestHistogramBuckets(t *testing.T) {
	var h conns.Histogram
	for _, d := range []time.Duration{
		953 * time.Nanosecond, time.Microsecond, 1190 * time.Nanosecond, 31250 * time.Microsecond, time.Millisecond,
		time.Second - 1, time.Second, time.Second + 1, 3 * time.Second, time.Hour, 24 * time.Hour, 388 * 24 * time.Hour,
	} {
		i := conns.BucketOf(d)
		below := h.ZeroBound()
		if i > 0 {
			below = h.Bound(i - 1)
		}
		if s := d.Seconds(); i >= 0 && (s <= below || s > h.Bound(i)) || i < 0 && s > h.ZeroBound() {
			t.Errorf("%v: got bucket %d, above %g up to %g, want one that contains it", d, i, below, h.Bound(i))
		}
	}
	if got := conns.BucketOf(0); got >= 0 {
		t.Errorf("0: got bucket %d, want none", got)
	}
	if got, want := conns.BucketOf(math.MaxInt64), len(h.Buckets)-1; got != want {
		t.Errorf("longest time: got bucket %d, want %d", got, want)
	}
	if got := h.Bound(-conns.HistogramOffset); got != 1 {
		t.Errorf("native bucket 0: got the bound %g, want 1", got)
	}
	for i := range len(h.Buckets) - 4 {
		if got := h.Bound(i+4) / h.Bound(i); got != 2 {
			t.Fatalf("bucket %d: got the ratio %g after four buckets, want 2", i, got)
		}
	}
}

func TestHistogramQuantile(t *testing.T) {
	var h conns.Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("empty: got %v, want 0", got)
	}
	h.Zero = 1
	h.Buckets[conns.BucketOf(time.Second)] = 8
	h.Buckets[conns.BucketOf(4*time.Second)] = 1
	h.Count = 10
	for q, want := range map[float64]time.Duration{
		-1: 0, 0.1: 0, 0.11: time.Second, 0.5: time.Second, 0.9: time.Second, 0.91: 4 * time.Second, 1: 4 * time.Second, 2: 4 * time.Second,
	} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %g: got %v, want %v", q, got, want)
		}
	}
}

func TestHistogramSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, 0)
		h.start(fake{plain: true}, newStub(), returnAfter(0, nil))
		synctest.Wait()
		time.Sleep(time.Hour)
		h.shutdown()
		old := h.sup.Durations().Connection
		if diff := cmp.Diff(conns.Histogram{}, old.Since(old)); diff != "" {
			t.Errorf("since now (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(old, old.Since(conns.Histogram{})); diff != "" {
			t.Errorf("since the beginning (-want +got):\n%s", diff)
		}
		if got := old.Quantile(1); got < time.Hour || got > time.Hour*119/100 {
			t.Errorf("quantile: got %v, want an hour, or at most 19 %% more", got)
		}
	})
}
