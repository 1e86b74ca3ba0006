//go:build !linux

package bots

var defaultDriver driver = driveGoroutines
