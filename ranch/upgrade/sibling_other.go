//go:build !linux

package upgrade

import (
	"errors"
	"os/exec"
)

func makeSibling(*exec.Cmd) bool { return false }

func waitSibling(*exec.Cmd) error { return errors.ErrUnsupported }
