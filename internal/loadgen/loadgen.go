// Package loadgen provides what the load generators of this module share: child processes of the
// running executable, the limit of open files, percentiles and, on Linux, non-blocking TCP clients
// that one thread drives with epoll.
//
// "ranchctl bots" (package bots) and the module bench stand on it. What a client sends, what it
// expects and what is measured differs between the two and stays with them.
package loadgen

import (
	"cmp"
	"math"
)

// Percentile returns the nearest-rank percentile of sorted values: the smallest value that is not
// exceeded by at least the share p of all values. p is from 0 (the minimum) to 1 (the maximum).
// Without values it returns zero.
func Percentile[T cmp.Ordered](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	rank := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}
