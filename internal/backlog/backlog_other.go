//go:build !unix

package backlog

import (
	"errors"
	"net"
)

const shortest = 0

func set(net.Listener, int) error { return errors.ErrUnsupported }

func pending(net.Listener) (bool, error) { return false, errors.ErrUnsupported }
