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

// opError is the error of an operation on a listener.
type opError struct {
	op  string // "start", "stop", "suspend", "resume", "set", "get", "wait" or "find"
	ref string // the name of the listener
	err error  // the cause
}

func (e *opError) Error() string { return "ranch: " + e.op + " " + e.ref + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

func opErr(op, ref string, err error) error {
	if err == nil {
		return nil
	}
	return &opError{op, ref, err}
}
