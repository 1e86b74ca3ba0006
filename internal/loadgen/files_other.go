//go:build !unix

package loadgen

import "math"

// MaxOpenFiles returns how many files this process may have open.
func MaxOpenFiles() int { return math.MaxInt }
