package transport

import (
	"errors"
	"net"
)

// PeerCred identifies the process that connected to a Unix socket, as of its connect(2).
type PeerCred struct {
	UID, GID int // the effective user and the first group
	PID      int // 0 if the system does not report it
}

// PeerCred returns the credentials of the peer of a Unix socket. They are reported by the kernel,
// so the peer cannot forge them. The error is errors.ErrUnsupported for other connections, and on
// systems other than Linux, macOS and FreeBSD.
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
