//go:build !unix

package transport

import (
	"net"
	"syscall"
)

func sysConn(net.Conn) syscall.RawConn { return nil }

func (w *rawConn) writeRaw([]byte, bool) (int, error) {
	panic("unreachable: raw is nil on this system")
}

type writeOp struct{} // no system calls of our own, no state of one
