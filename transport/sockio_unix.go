//go:build unix && !linux

package transport

import "golang.org/x/sys/unix"

// send writes to a non-blocking socket.
func send(fd int, p []byte) (int, unix.Errno) { return sockIO(unix.Write, fd, p) }

// receive reads from a non-blocking socket.
func receive(fd int, p []byte) (int, unix.Errno) { return sockIO(unix.Read, fd, p) }

func sockIO(call func(fd int, p []byte) (int, error), fd int, p []byte) (int, unix.Errno) {
	for {
		n, err := call(fd, p)
		if err == nil {
			return n, 0
		}
		errno, ok := err.(unix.Errno)
		if !ok {
			errno = unix.EIO
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
