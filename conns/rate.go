package conns

import (
	"fmt"
	"math"
	"time"

	"goranch/internal/bucket"
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

// take takes one token from a bucket whose whole state is the time at which it will be full again,
// in nanoseconds; see [bucket.Bucket]. The clock is monotonic.
func (r Rate) take(full *int64, now int64) (wait time.Duration) {
	return (*bucket.Bucket)(full).Take(1, r.PerSecond, r.burst(), now)
}
