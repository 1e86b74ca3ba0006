package descriptors

import (
	"math"

	"golang.org/x/sys/unix"
)

func closeOnExec() { unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }
