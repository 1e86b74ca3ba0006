//go:build !linux

package bots

import "time"

// startClock takes the wall clock where processes share no other.
func startClock() (time.Time, int64) {
	t := time.Now()
	return t, t.UnixNano()
}
