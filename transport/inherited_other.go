//go:build !unix

package transport

import (
	"errors"
	"net"

	"goranch/internal/listenaddr"
)

func (t TCP) listenInherited(listenaddr.Addr) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

type inheritedListener struct{ net.Listener }
