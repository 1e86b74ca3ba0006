package ranch

import "errors"

// Errors of listeners, to be compared with errors.Is. Start errors of the system match those of
// package syscall, such as syscall.EADDRINUSE, and fs.ErrPermission.
var (
	ErrAlreadyStarted = errors.New("a listener of this name is already started")
	ErrNotFound       = errors.New("no listener of this name")
	ErrBadOption      = errors.New("bad option")
	ErrStopped        = errors.New("the listener is stopped")

	errSuspended = errors.New("the listener is suspended")
)

// Error is the error of an operation on a listener.
type Error struct {
	Op  string // "start", "stop", "suspend", "resume", "set", "get", "wait" or "find"
	Ref string // the name of the listener
	Err error  // the cause
}

func (e *Error) Error() string { return "ranch: " + e.Op + " " + e.Ref + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func opErr(op, ref string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Ref: ref, Err: err}
}
