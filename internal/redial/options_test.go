package redial

import (
	"strings"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const ms, hour = time.Millisecond, time.Hour
	for _, c := range []struct {
		opts     Options
		failures int
		most     time.Duration // the wait is between half of it and all of it
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
				t.Errorf("%+v, %d failures: got %v, want %v to %v", c.opts, c.failures, d, c.most/2, c.most)
			}
		}
		if len(seen) < 50 {
			t.Errorf("%+v: got %d different waits of 100, want at least 50", c.opts, len(seen))
		}
	}
}

func TestValidate(t *testing.T) {
	err := Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1}.Validate()
	want := strings.Join([]string{
		"option MinBackoff and MaxBackoff 2ns and 1ns: allowed are positive durations, the first not above the second, and 0 for 100ms and 10s",
		"option MaxAttempts -1: allowed are positive numbers, and 0 for no limit",
		"option DialTimeout -1ns: allowed are positive durations, and 0 for 5s",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("zero options: got %v, want nil", err)
	}
}
