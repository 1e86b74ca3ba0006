package proxy

import (
	"context"
	"errors"
	"os"
	"time"
)

// Why a connection was not accepted. The error of a handshake wraps one of them, or that of
// the socket, or the cause of the context that ended it.
var (
	// ErrNoHeader: the peer must send a header, and sent something else, or nothing.
	ErrNoHeader = errors.New("there is none")
	// ErrRefused: a header came from a peer that is not trusted.
	ErrRefused = errors.New("the peer is not trusted to send one")
	// ErrMalformed: what began as a header is none, or ends too early.
	ErrMalformed = errors.New("malformed")
	// ErrChecksum: the header's CRC32C is not that of its bytes.
	ErrChecksum = errors.New("wrong checksum")
	// ErrTooLarge: the header is longer than its version or MaxHeaderBytes allows.
	ErrTooLarge = errors.New("too large")
	// ErrTimeout: the header was not complete within HeaderTimeout. It is an
	// os.ErrDeadlineExceeded, too, and a timeout to who asks by net.Error.
	ErrTimeout error = timeoutError{}
)

// ErrBadHeader is wrapped by the error for a header that cannot be written.
var ErrBadHeader = errors.New("bad PROXY header")

var errNoInner = errors.New("option Inner nil: a transport is needed, such as transport.TCP{}")

type timeoutError struct{}

func (timeoutError) Error() string        { return "not complete in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return false }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// limited runs f, which reads or writes, until the time is over or ctx ends. A time that
// is not positive is no limit.
func limited(ctx context.Context, d time.Duration, setDeadline func(time.Time) error, f func() error) error {
	if d > 0 {
		setDeadline(time.Now().Add(d))
		defer setDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, func() { setDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() { // the deadline may be in the past, or will be: the connection is of no use any more
		return context.Cause(ctx)
	}
	if d > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrTimeout
	}
	return err
}
