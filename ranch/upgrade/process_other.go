//go:build !unix

package upgrade

import (
	"errors"
	"net"
	"os"
	"syscall"
)

const supported = false

func duplicate(syscall.Conn) (int, error)                    { return -1, errors.ErrUnsupported }
func closeFD(int)                                            {}
func controlPair() (*net.UnixConn, *os.File, error)          { return nil, nil, errors.ErrUnsupported }
func inheritedControl(string) (*net.UnixConn, error)         { return nil, errors.ErrUnsupported }
func sendFiles(*net.UnixConn, []int) error                   { return errors.ErrUnsupported }
func receiveFiles(*net.UnixConn, int) (fds []int, err error) { return nil, errors.ErrUnsupported }
func exitPipe() (int, error)                                 { return -1, errors.ErrUnsupported }
func hasEnded(int) bool                                      { return true }

func duplicateFD(int) (int, error) { return -1, errors.ErrUnsupported }
