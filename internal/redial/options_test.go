package redial

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const ms, hour = time.Millisecond, time.Hour
	for _, c := range []struct {
		opts     Options
		failures int
		most     time.Duration // and half of it at least
	}{
		{Options{}, 0, 100 * ms},
		{Options{}, 3, 800 * ms},
		{Options{}, 7, 10_000 * ms},
		{Options{}, 1 << 40, 10_000 * ms},
		{Options{MinBackoff: hour}, 1, hour},
		{Options{MaxBackoff: ms}, 0, ms},
		{Options{MinBackoff: hour, MaxBackoff: 1 << 62}, 29, 1 << 62}, // the shift overflows
		{Options{MinBackoff: 9, MaxBackoff: 1 << 62}, 61, 9 << 30},
	} {
		o, seen := c.opts.withDefaults(), map[time.Duration]bool{}
		for range 100 {
			d := o.backoff(c.failures)
			if seen[d] = true; d > c.most || d < c.most/2 {
				t.Errorf("%+v, %d failures: %v, want up to %v", c.opts, c.failures, d, c.most)
			}
		}
		if len(seen) < 50 {
			t.Errorf("%+v: %d different rests of 100", c.opts, len(seen))
		}
	}
}
