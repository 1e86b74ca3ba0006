//go:build !linux

package transport

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// onlyLinux returns an error for options that the system does not have: they are not ignored
// silently.
func (t TCP) onlyLinux(network string, r role) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	if t.DeferAccept > 0 && r != dialling {
		return fmt.Errorf("deferred accept on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	if t.FastOpen > 0 {
		return fmt.Errorf("TCP Fast Open on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	return nil
}
