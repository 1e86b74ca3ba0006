//go:build !unix

package transport

import (
	"errors"
	"fmt"
	"runtime"
)

const (
	listenerInherits = false
	canReusePort     = false // the system has no option that distributes connections
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
