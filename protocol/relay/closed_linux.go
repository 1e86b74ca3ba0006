package relay

import (
	"syscall"

	"golang.org/x/sys/unix"

	"goranch/transport"
)

// tcpClose is TCP_CLOSE of the kernel.
const tcpClose = 7

// isClosed reports whether the TCP connection was reset, or closed by both sides.
func isClosed(c *transport.Conn) (closed bool) {
	sc, ok := c.NetConn().(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	err = rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err == nil && info.State == tcpClose
	})
	return closed || err != nil
}
