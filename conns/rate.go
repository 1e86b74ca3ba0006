package conns

import (
	"fmt"
	"math"
	"time"

	"goranch/internal/option"
)

// Rate is an average number of events per second, with bursts. The zero value is no limit.
type Rate struct {
	// PerSecond is the average, at most 1e9. 0 is no limit; negative values are refused.
	PerSecond float64
	// Burst is how many events may happen at once after a pause. 0 is PerSecond rounded up;
	// negative values are refused.
	Burst int
}

// burst returns Burst with its default.
func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, int(math.Ceil(min(r.PerSecond, 1e9))))
}

// check returns an error if the rate is not allowed as the option field.
func (r Rate) check(field string) error {
	var f option.Faults
	if !(r.PerSecond >= 0 && r.PerSecond <= 1e9) || r.Burst < 0 {
		f.Bad(field, fmt.Sprintf("%+v", r), "0 to 1e9 per second, and bursts from 0")
	}
	return f.Err()
}

// longestFill keeps sums of times to fill a bucket from overflowing. It is 73 years.
const longestFill = 1 << 61

// take takes one token from a bucket whose whole state is the time at which it will be full again,
// in nanoseconds. If the bucket is empty, nothing is taken, and wait is the time until it has a
// token. The clock is monotonic.
//
// x/time/rate is not used because of its size: a Limiter has 80 bytes and a mutex, and the table of
// addresses holds tens of thousands of buckets under locks of its own.
func (r Rate) take(full *int64, now int64) (wait time.Duration) {
	each := min(float64(time.Second)/r.PerSecond, longestFill)
	capacity := int64(min(each*float64(r.burst()), longestFill))
	*full = min(*full, now+capacity) // more would be debt from a slower rate
	next := max(*full, now) + int64(each)
	if over := next - now - capacity; over > 0 {
		return time.Duration(over)
	}
	*full = next
	return 0
}
