//go:build unix && !linux

package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	abstractSockets  = false
	maxUnixPath      = 103
	listenerInherits = false
	canReusePort     = false // the system has no option that spreads connections
)

// setOptions sets the buffers; package net and tune set the rest on each connection.
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
