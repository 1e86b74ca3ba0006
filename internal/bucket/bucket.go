// Package bucket provides token buckets of eight bytes for rate limits of which there are many: one
// for each connection or source address.
package bucket

import "time"

// Bucket is a token bucket. Its whole state is the time at which it will be full again, in
// nanoseconds on a monotonic clock of the caller. The zero value is full. Its methods need a lock
// of the caller.
//
// x/time/rate is not used because of its size: a Limiter has 80 bytes and a mutex.
type Bucket int64

// LongestFill is the longest time for which a bucket is filled, 73 years: sums of such times do not
// overflow.
const LongestFill time.Duration = 1 << 61

// Take takes n tokens from a bucket that gets perSecond, more than 0, and holds burst of them. If
// there are fewer than n, nothing is taken, and wait is the time until there are; more than burst
// tokens are never available.
func (b *Bucket) Take(n int, perSecond float64, burst int, now int64) (wait time.Duration) {
	each := min(float64(time.Second)/perSecond, float64(LongestFill))
	capacity := int64(min(each*float64(burst), float64(LongestFill)))
	full := min(int64(*b), now+capacity) // more would be debt from a slower rate
	next := max(full, now) + int64(min(each*float64(n), float64(LongestFill)))
	if over := next - now - capacity; over > 0 {
		*b = Bucket(full)
		return time.Duration(over)
	}
	*b = Bucket(next)
	return 0
}
