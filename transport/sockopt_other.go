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
)

func (t TCP) setOptions(uintptr, string, role) error {
	if t.ReadBuffer > 0 || t.WriteBuffer > 0 {
		return fmt.Errorf("socket buffers on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	return nil
}

func setBacklog(net.Listener, int) error { return errors.ErrUnsupported }
