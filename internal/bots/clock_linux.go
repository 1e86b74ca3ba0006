package bots

import (
	"time"

	"golang.org/x/sys/unix"
)

// readClocks returns the time and CLOCK_MONOTONIC, which package time uses but does not expose.
func readClocks() (time.Time, int64) {
	var ts unix.Timespec
	t := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return t, t.UnixNano()
	}
	return t, ts.Nano()
}
