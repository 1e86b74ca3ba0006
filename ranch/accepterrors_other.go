//go:build !unix

package ranch

import (
	"errors"
	"syscall"
)

func isPeerFault(err error) bool {
	return errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ECONNRESET)
}
