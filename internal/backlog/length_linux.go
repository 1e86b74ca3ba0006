package backlog

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// length reads the queue from TCP_INFO: of a listening socket, tcpi_unacked is the number of queued
// connections and tcpi_sacked the length of the queue.
func length(ln net.Listener) (n, limit int, err error) {
	var info *unix.TCPInfo
	var ierr error
	if err := control(ln, func(fd int) { info, ierr = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil {
		return 0, 0, err
	}
	switch {
	case errors.Is(ierr, unix.EOPNOTSUPP), errors.Is(ierr, unix.ENOPROTOOPT):
		return 0, 0, errors.ErrUnsupported // a Unix socket
	case ierr != nil:
		return 0, 0, os.NewSyscallError("getsockopt", ierr)
	}
	return int(info.Unacked), int(info.Sacked), nil
}
