//go:build !unix

package descriptors

import (
	"errors"
	"fmt"
)

func count() (open, limit int, err error) {
	return 0, 0, fmt.Errorf("open descriptors: %w", errors.ErrUnsupported)
}
