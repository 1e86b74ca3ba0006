//go:build !linux

package web_test

// serveCosts serves the benchmarks of costs, which exist on Linux only.
func serveCosts() {}
