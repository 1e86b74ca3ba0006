//go:build unix && !linux

package transport

import "golang.org/x/sys/unix"

// send writes to a non-blocking socket.
func send(fd int, p []byte) (int, unix.Errno) {
	for {
		n, err := unix.Write(fd, p)
		switch err {
		case nil:
			return n, 0
		case unix.EINTR:
		default:
			errno, ok := err.(unix.Errno)
			if !ok {
				errno = unix.EIO
			}
			return 0, errno
		}
	}
}
