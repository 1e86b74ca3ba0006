//go:build unix && !linux

package upgrade_test

func maxBacklog(int) int { return 0 }
