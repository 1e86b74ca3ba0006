//go:build unix && !linux

package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	listenerInherits = false
	canReusePort     = false // the system has no option that distributes connections
)

// setOptions sets the buffers. Package net and tune set the other options on each connection.
func (t TCP) setOptions(fd uintptr, network string, r role) error {
	if err := t.onlyLinux(network, r); err != nil {
		return err
	}
	if t.ReadBuffer > 0 {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, t.ReadBuffer); err != nil {
			return os.NewSyscallError("SO_RCVBUF", err)
		}
	}
	if t.WriteBuffer > 0 {
		return os.NewSyscallError("SO_SNDBUF", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, t.WriteBuffer))
	}
	return nil
}
