package bots

import (
	"time"

	"golang.org/x/sys/unix"
)

// startClock reads CLOCK_MONOTONIC, which is what Go uses, but does not show.
func startClock() (time.Time, int64) {
	var ts unix.Timespec
	t := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return t, t.UnixNano()
	}
	return t, ts.Nano()
}
