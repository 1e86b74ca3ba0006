//go:build !unix

package transport

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

const (
	abstractSockets  = false
	maxUnixPath      = 107
	listenerInherits = false
	canReusePort     = false // the system has no option that spreads connections
	leastBacklog     = 0
)

func (t TCP) setOptions(_ uintptr, network string, r role) error {
	if err := t.onlyLinux(network, r); err != nil {
		return err
	}
	if t.ReadBuffer > 0 || t.WriteBuffer > 0 {
		return fmt.Errorf("socket buffers on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	return nil
}

func setBacklog(net.Listener, int) error { return errors.ErrUnsupported }

func backlogged(net.Listener) (bool, error) { return false, errors.ErrUnsupported }
