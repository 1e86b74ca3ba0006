//go:build !unix

package transport

import (
	"net"
	"syscall"
)

func sysConn(net.Conn) syscall.RawConn { return nil }

func (w *rawConn) writeRaw([]byte, bool) (int, error) {
	panic("unreachable: rawConn.sys is nil on this system")
}
