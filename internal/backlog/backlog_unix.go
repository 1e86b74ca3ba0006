//go:build unix

package backlog

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// shortest is 0 on Linux, which is a queue of one connection. On other systems 0 is the maximum.
var shortest = map[bool]int{true: 0, false: 1}[runtime.GOOS == "linux"]

func set(ln net.Listener, n int) error {
	var lerr error
	if err := control(ln, func(fd int) { lerr = unix.Listen(fd, n) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", lerr)
}

func pending(ln net.Listener) (bool, error) {
	var ready []unix.PollFd
	var perr error
	err := control(ln, func(fd int) {
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

func control(ln net.Listener, f func(fd int)) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) { f(int(fd)) })
}
