//go:build unix

package loadgen

import (
	"math"

	"golang.org/x/sys/unix"
)

// MaxOpenFiles returns how many files this process may have open. The Go runtime raises the soft
// limit to the hard limit at start.
func MaxOpenFiles() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || uint64(lim.Cur) > math.MaxInt {
		return math.MaxInt
	}
	return int(lim.Cur)
}
