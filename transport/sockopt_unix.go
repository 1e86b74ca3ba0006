//go:build unix

package transport

import (
	"errors"
	"syscall"
)

// onSocket calls f with the descriptor of a socket.
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
