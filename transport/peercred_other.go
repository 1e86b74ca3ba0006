//go:build !linux && !darwin && !freebsd

package transport

import (
	"errors"
	"net"
)

func peerCred(*net.UnixConn) (PeerCred, error) { return PeerCred{}, errors.ErrUnsupported }
