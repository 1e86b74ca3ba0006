package transport

import (
	"errors"
	"syscall"
)

// SyscallConn returns access to the socket of the connection, for options such as TCP_INFO and
// IP_TOS. Reading or writing through it bypasses TLS, the counters and the send timeout. The error
// is errors.ErrUnsupported if the connection has no socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.raw.Conn.(syscall.Conn)
	if !ok {
		return nil, opError("control", c.raw.Conn, errors.ErrUnsupported)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return opaqueRawConn{rc}, nil
}

// opaqueRawConn hides the type of a RawConn, by which os.File.ReadFrom recognizes a socket that it
// can splice from, which would bypass TLS.
type opaqueRawConn struct{ syscall.RawConn }
