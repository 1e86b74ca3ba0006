package natsengine

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks f until it is closed. It locks a byte behind the content, which other processes
// could not read otherwise.
func lockFile(f *os.File) error {
	const exclusive = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), exclusive, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1})
}
