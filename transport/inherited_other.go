//go:build !unix

package transport

import (
	"errors"
	"net"
)

const canInherit = false

func (t TCP) listenInherited(Addr) (net.Listener, error) { return nil, errors.ErrUnsupported }

type inheritedListener struct{ net.Listener }
