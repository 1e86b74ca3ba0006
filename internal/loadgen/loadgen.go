// Package loadgen provides what the load generators of this module share: child processes of the
// running executable, the limit of open files, percentiles and, on Linux, non-blocking TCP clients
// that one thread drives with epoll.
//
// Package bots ("ranchctl bots") and the module bench use it. They differ in what a client sends,
// in what it expects and in what is measured; that part is theirs.
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
