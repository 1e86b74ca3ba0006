//go:build unix

package transport

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// setBacklog calls listen(2) again: the kernel takes the new length, net always asks
// for the system's maximum.
func setBacklog(ln net.Listener, n int) error {
	var lerr error
	if err := onSocket(ln, func(fd int) { lerr = unix.Listen(fd, n) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", lerr)
}

func backlogged(ln net.Listener) (bool, error) {
	var ready []unix.PollFd
	var perr error
	err := onSocket(ln, func(fd int) {
		ready = []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, perr = unix.Poll(ready, 0); perr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return false, err
	}
	return ready[0].Revents&unix.POLLIN != 0, os.NewSyscallError("poll", perr)
}

// onSocket calls f with the descriptor of a socket of the system's.
func onSocket(s any, f func(fd int)) error {
	sc, ok := s.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) { f(int(fd)) })
}
