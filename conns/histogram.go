package conns

import (
	"math"
	"sort"
	"sync/atomic"
	"time"
)

// The buckets of a [Histogram] are those of the native histograms of Prometheus with schema 2: four
// to a power of two, so that a quantile is within 19 % of the exact value. Bucket i of Buckets is
// the native bucket HistogramOffset + i.
const (
	HistogramSchema  = 2
	HistogramOffset  = -79 // up to 2^-19.75 s
	histogramBuckets = 180 // up to 2^25 s, more than a year; the last one holds longer times, too
	histogramZero    = 1. / (1 << 20)
)

// Histogram is a distribution of times.
type Histogram struct {
	Count uint64
	Sum   float64 // in seconds
	// Zero counts times up to 2^-20 s, about 0.95 µs. Buckets[i] counts times above Bound(i-1), or
	// above those of Zero, up to Bound(i).
	Zero    uint64
	Buckets [histogramBuckets]uint64
}

// ZeroBound returns the longest time that Zero counts, in seconds.
func (h *Histogram) ZeroBound() float64 { return histogramZero }

// Bound returns the longest time that Buckets[i] counts, in seconds. The last bucket also counts
// longer times.
func (h *Histogram) Bound(i int) float64 { return bound(i) }

func bound(i int) float64 {
	key := i + HistogramOffset
	return math.Ldexp(fractions[key&3], key>>2+1)
}

// Quantile returns the time within which the fraction q of all times are, 0 to 1: the upper bound
// of the bucket. It is 0 if nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.Count)))
	n := h.Zero
	if h.Count == 0 || rank <= n && n > 0 {
		return 0
	}
	for i, b := range h.Buckets {
		if n += b; n >= rank && b > 0 {
			return time.Duration(bound(i) * float64(time.Second))
		}
	}
	return 0
}

// Since returns the distribution of the times that were counted after old, an earlier state of the
// same histogram.
func (h Histogram) Since(old Histogram) Histogram {
	h.Count -= old.Count
	h.Sum -= old.Sum
	h.Zero -= old.Zero
	for i, b := range old.Buckets {
		h.Buckets[i] -= b
	}
	return h
}

func (h *Histogram) add(o *histogram) {
	zero := o.zero.Load()
	h.Zero += zero
	h.Count += zero
	for i := range o.buckets {
		n := o.buckets[i].Load()
		h.Buckets[i] += n
		h.Count += n
	}
	h.Sum += float64(o.seconds.Load()) + float64(o.nanoseconds.Load())/1e9
}

// histogram is a Histogram while it is written, by any number of goroutines. The sum is kept in two
// parts because the sum of nanoseconds alone overflows after some hundred connection years.
type histogram struct {
	seconds, nanoseconds atomic.Uint64
	zero                 atomic.Uint64
	buckets              [histogramBuckets]atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	if i := bucketOf(d); i < 0 {
		h.zero.Add(1)
	} else {
		h.buckets[i].Add(1)
	}
	if s := uint64(d / time.Second); s > 0 {
		h.seconds.Add(s)
	}
	h.nanoseconds.Add(uint64(d % time.Second))
}

// fractions are the bounds of the buckets of a power of two, as fractions from 0.5 to 1. These are
// the numbers of Prometheus, the last digits included.
var fractions = [4]float64{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144}

// bucketOf returns the index of the bucket for d; a negative number is the zero bucket.
func bucketOf(d time.Duration) int {
	s := d.Seconds()
	if s <= histogramZero {
		return -1
	}
	frac, exp := math.Frexp(s)
	return min(sort.SearchFloat64s(fractions[:], frac)+(exp-1)<<HistogramSchema-HistogramOffset, histogramBuckets-1)
}

// Durations are the distributions of times of the connections of a [Supervisor].
type Durations struct {
	// Handshake is the time of handshakes that were completed, without the time for which they
	// waited for MaxHandshakes. Transports without a handshake are not counted.
	Handshake Histogram
	// Wait is the time from accept until the protocol was called.
	Wait Histogram
	// Connection is the time from accept until the end of connections whose protocol was called.
	Connection Histogram
}

// durations is a shard of Durations. There are fewer than of connections, because each is large,
// and its counters need no lock.
type durations struct {
	handshake, wait, connection histogram
	_                           [64]byte // keeps the next shard out of this cache line
}

// maxDurationShards bounds the memory of a supervisor on large machines.
const maxDurationShards = 8

func (s *Supervisor) durationsOf(c *connection) *durations {
	return &s.durations[c.conn.ID()%uint64(len(s.durations))]
}

// Durations returns the distributions of times since the supervisor was created. Times that are
// counted meanwhile may be missing in some of them.
func (s *Supervisor) Durations() Durations {
	var d Durations
	for i := range s.durations {
		d.Handshake.add(&s.durations[i].handshake)
		d.Wait.add(&s.durations[i].wait)
		d.Connection.add(&s.durations[i].connection)
	}
	return d
}
