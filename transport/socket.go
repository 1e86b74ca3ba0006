package transport

import (
	"errors"
	"net"
	"syscall"
)

// SyscallConn returns the means to read and set options of the connection's socket, such
// as TCP_INFO or IP_TOS, while it is in use. Reading or writing through it bypasses TLS,
// counters and the send timeout. The error is errors.ErrUnsupported for connections
// that are no socket of the system's.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.raw.Conn.(syscall.Conn)
	if !ok {
		return nil, opError("control", c.raw.Conn, errors.ErrUnsupported)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return onlyRaw{rc}, nil
}

// onlyRaw hides by what package os would copy from the socket to a file, past TLS.
type onlyRaw struct{ syscall.RawConn }

// PeerCred is who has connected to a Unix socket, as of the moment of its connect.
type PeerCred struct {
	UID, GID int // the effective user, and its first group
	PID      int // 0 where the system does not tell
}

// PeerCred returns who is at the other end of a Unix socket. The kernel vouches for it:
// the peer cannot lie. It is known on Linux, macOS and FreeBSD; elsewhere, and for other
// connections, the error is errors.ErrUnsupported.
func (c *Conn) PeerCred() (PeerCred, error) {
	uc, ok := c.raw.Conn.(*net.UnixConn)
	if !ok {
		return PeerCred{}, opError("peer credentials", c.raw.Conn, errors.ErrUnsupported)
	}
	cred, err := peerCred(uc)
	if err != nil {
		return PeerCred{}, opError("peer credentials", uc, err)
	}
	return cred, nil
}
