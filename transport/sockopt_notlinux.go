//go:build !linux

package transport

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// onlyLinux refuses what the system may lack, rather than leave it out in silence.
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
