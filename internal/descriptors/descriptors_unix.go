//go:build unix

package descriptors

import (
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
