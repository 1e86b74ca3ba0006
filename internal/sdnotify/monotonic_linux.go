package sdnotify

import (
	"time"

	"golang.org/x/sys/unix"
)

const supported = true

// monotonic returns CLOCK_MONOTONIC, which the manager compares with its own.
func monotonic() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails only for an unknown clock
	return time.Duration(ts.Nano())
}
