//go:build !linux

package backlog

import (
	"errors"
	"net"
)

func length(net.Listener) (n, limit int, err error) { return 0, 0, errors.ErrUnsupported }
