//go:build !unix

package ranch

import (
	"errors"
	"fmt"
)

func openDescriptors() (open, limit int, err error) {
	return 0, 0, fmt.Errorf("open descriptors: %w", errors.ErrUnsupported)
}
