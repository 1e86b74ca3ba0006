package faults

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// temporary is an error that says that the call may be repeated.
type temporary struct{ timeout bool }

func (temporary) Error() string   { return "temporary fault" }
func (e temporary) Timeout() bool { return e.timeout }
func (temporary) Temporary() bool { return true }

var errUnknown = errors.New("unknown fault")

// acceptErrors are the errors with which accept fails. With net.ErrClosed the socket is closed as
// well.
var acceptErrors = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.ECONNABORTED, syscall.EPROTO, syscall.ECONNRESET, syscall.EPERM, syscall.ENETDOWN, syscall.EINTR,
	syscall.EAGAIN, syscall.EINVAL, os.ErrDeadlineExceeded, net.ErrClosed,
	temporary{}, temporary{timeout: true}, errUnknown,
}

// readErrors and writeErrors are those of a connection. The connection is usable after one that
// isTemporary, and broken after the others.
var (
	readErrors = []error{
		syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EIO, syscall.ENOBUFS, syscall.ENOMEM, syscall.EHOSTUNREACH,
		syscall.EAGAIN, os.ErrDeadlineExceeded, temporary{}, temporary{timeout: true}, errUnknown,
	}
	writeErrors = []error{
		syscall.EPIPE, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENETUNREACH, syscall.EIO, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EAGAIN, os.ErrDeadlineExceeded, temporary{}, errUnknown,
	}
)

func isTemporary(err error) bool {
	switch err {
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, os.ErrDeadlineExceeded:
		return true
	}
	_, ok := err.(temporary)
	return ok
}

// opError returns err as package net wraps it.
func opError(op, network string, addr net.Addr, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: err}
}
