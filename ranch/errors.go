package ranch

import (
	"errors"
	"io/fs"
	"syscall"

	"goranch/internal/engine"
)

var (
	ErrAlreadyStarted = errors.New("a listener of this name is already started")
	ErrNotFound       = errors.New("no listener of this name")
	ErrBadOption      = errors.New("bad option")
	ErrStopped        = errors.New("the listener is stopped")

	// ErrAddrInUse and ErrPermission match the system's errors of that meaning, and
	// ErrNoCertificate is that of transport.TLS.
	ErrAddrInUse     = errors.New("address in use")
	ErrPermission    = fs.ErrPermission
	ErrNoCertificate = engine.ErrNoCertificate

	errSuspended = errors.New("the listener is suspended")
)

// Error is the error of an operation on a listener. errors.Is with the variables of this package,
// or of package syscall, tells what happened.
type Error struct {
	Op  string // "start", "stop", "suspend", …
	Ref string // the listener's name
	Err error
}

func (e *Error) Error() string { return "ranch: " + e.Op + " " + e.Ref + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes [ErrAddrInUse] match the error that each system has for it.
func (e *Error) Is(target error) bool {
	return target == ErrAddrInUse && errors.Is(e.Err, syscall.EADDRINUSE)
}

func opErr(op, ref string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Ref: ref, Err: err}
}
