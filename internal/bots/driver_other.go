//go:build !linux

package bots

// bestDriver is the one for this system.
var bestDriver driver = driveGoroutines
