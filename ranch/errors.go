package ranch

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"goranch/conns"
	"goranch/transport"
)

var (
	ErrAlreadyStarted = errors.New("a listener of this name is already started")
	ErrNotFound       = errors.New("no listener of this name")
	ErrBadOption      = errors.New("bad option")
	ErrStopped        = errors.New("the listener is stopped")

	// ErrAddrInUse and ErrPermission match the system's errors of that meaning, and
	// ErrNoCertificate that of transport.TLS.
	ErrAddrInUse     = errors.New("address in use")
	ErrPermission    = fs.ErrPermission
	ErrNoCertificate = transport.ErrNoCertificate

	// Causes of the contexts of connections.
	ErrShutdown = conns.ErrShutdown // the listener is stopping: finish
	ErrAborted  = conns.ErrAborted  // the shutdown limit has passed
	ErrKilled   = conns.ErrKilled   // somebody closed this connection

	errSuspended = errors.New("the listener is suspended")
)

// Error is the error of an operation on a listener. Use errors.Is with the variables of
// this package, or of syscall, to tell what happened.
type Error struct {
	Op  string // "start", "stop", "suspend", …
	Ref string // the listener's name
	Err error
}

func (e *Error) Error() string { return "ranch: " + e.Op + " " + e.Ref + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets [ErrAddrInUse] stand for the error that each system has for it.
func (e *Error) Is(target error) bool {
	return target == ErrAddrInUse && errors.Is(e.Err, syscall.EADDRINUSE)
}

// OptionError is a fault of one option. It is [ErrBadOption].
type OptionError struct {
	Field   string // of Options
	Value   any
	Allowed string // in words
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("%v: %s %v: allowed %s", ErrBadOption, e.Field, e.Value, e.Allowed)
}

// Is says that this is a bad option.
func (e *OptionError) Is(target error) bool { return target == ErrBadOption }

func opErr(op, ref string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Ref: ref, Err: err}
}
