//go:build !unix

package descriptors

import (
	"errors"
	"fmt"
)

func count() (open, limit int, err error) {
	return 0, 0, fmt.Errorf("open descriptors: %w", errors.ErrUnsupported)
}

func newReserve(int) (*Reserve, error) {
	return nil, fmt.Errorf("reserved descriptors: %w", errors.ErrUnsupported)
}

func setLimit(uint64) error { return errors.ErrUnsupported }
