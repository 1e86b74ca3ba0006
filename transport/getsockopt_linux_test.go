package transport_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockopt reads options that x/sys/unix can only set.
func getsockopt(fd, level, opt int, l *unix.Linger, size *uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(l)), uintptr(unsafe.Pointer(size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
