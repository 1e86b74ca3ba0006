package transport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawMax is the most that is sent or received without a notice to the scheduler, in bytes. Such a
// system call ends within microseconds, and the scheduler acts on system calls only after 20 µs.
const rawMax = 16 << 10

// send writes to a socket without waiting. The kernel has less to do for send(2) than for write(2),
// which first treats the socket as a file. A short call is made without a notice to the scheduler:
// it never blocks, so no other goroutine needs the processor meanwhile.
func send(fd int, p []byte) (int, unix.Errno) {
	return sockIO(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// receive reads from a socket without waiting.
func receive(fd int, p []byte) (int, unix.Errno) {
	return sockIO(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT)
}

func sockIO(trap uintptr, fd int, p []byte, flags uintptr) (int, unix.Errno) {
	for {
		var r uintptr
		var err unix.Errno
		if len(p) <= rawMax {
			r, _, err = unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		} else {
			r, _, err = unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
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
