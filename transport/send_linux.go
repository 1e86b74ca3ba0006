package transport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendRawMax is the most that is sent without a notice to the scheduler, in bytes. The system call
// then ends within microseconds, which is less than the notice may delay.
const sendRawMax = 16 << 10

// send writes to a socket without waiting. The kernel has less to do for send(2) than for write(2),
// which first treats the socket as a file. A short call is made without a notice to the scheduler:
// it never blocks, so no other goroutine needs the processor meanwhile.
func send(fd int, p []byte) (n int, err unix.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	for {
		var r uintptr
		if len(p) <= sendRawMax {
			r, _, err = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		} else {
			r, _, err = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		}
		switch err {
		case 0:
			return int(r), 0
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}
