//go:build unix

package descriptors

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func count() (open, limit int, err error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	limit = int(min(uint64(r.Cur), math.MaxInt))
	dir := "/dev/fd"
	if runtime.GOOS == "linux" {
		dir = "/proc/self/fd"
		if fi, err := os.Stat(dir); err == nil && fi.Size() > 0 { // since Linux 6.2 the size is the count
			return int(fi.Size()), limit, nil
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names), limit, err
}

func newReserve(n int) (*Reserve, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	r := &Reserve{high: uint64(l.Cur)}
	if uint64(n) >= r.high/2 {
		return nil, fmt.Errorf("reserve %d of %d descriptors: %w", n, r.high, errors.ErrUnsupported)
	}
	r.low = r.high - uint64(n)
	return r, setLimit(r.low)
}

// setLimit changes the soft limit of this process. The runtime restores the original limit in child
// processes.
func setLimit(n uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	setCur(&l.Cur, n)
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
}

// setCur sets a limit, whose type depends on the system.
func setCur[T int64 | uint64](cur *T, n uint64) { *cur = T(n) }
