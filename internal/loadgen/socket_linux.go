package loadgen

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads from a non-blocking socket. It returns 0 and no error if no data has arrived, and
// io.EOF if the peer has closed its side. b must not be empty.
func Read(fd int, b []byte) (int, error) {
	n, errno := rawIO(unix.SYS_READ, fd, b)
	switch {
	case errno == unix.EAGAIN:
		return 0, nil
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes to a non-blocking socket and returns how many bytes the send buffer has taken, which
// can be 0.
func Write(fd int, b []byte) (int, error) {
	n, errno := rawIO(unix.SYS_WRITE, fd, b)
	switch {
	case errno == unix.EAGAIN:
		return 0, nil
	case errno != 0:
		return 0, os.NewSyscallError("write", errno)
	}
	return n, nil
}

// rawIO reads or writes without a notice to the Go scheduler, which for a call that never blocks
// only costs time.
func rawIO(trap uintptr, fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
