//go:build !linux

package transport

import (
	"errors"
	"os"
)

const canSendFile = false

func (c *Conn) sendFileKernel(*os.File, int64, int64) (int64, error) {
	return 0, errors.ErrUnsupported
}
