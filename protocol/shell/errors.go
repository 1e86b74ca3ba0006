package shell

import (
	"context"
	"errors"
	"fmt"
)

// Error is an error with a code for programs, as it is sent to the client.
type Error struct {
	Code       string // one of the constants, or "" if the command has failed
	Message    string
	Suggestion string // a command that may have been meant; "" is none
}

// Codes of an [Error].
const (
	CodeDenied    = "denied"    // the user's role does not permit it
	CodeUnknown   = "unknown"   // the command does not exist
	CodeUsage     = "usage"     // the command does not accept these arguments
	CodeCancelled = "cancelled" // the client has cancelled the command

	// CodeUnavailable says that the same request may succeed later. The message begins with it.
	CodeUnavailable = "unavailable"
)

// Error returns the message and the suggestion.
func (e *Error) Error() string {
	if e.Suggestion != "" {
		return fmt.Sprintf("%s; did you mean %s?", e.Message, e.Suggestion)
	}
	return e.Message
}

// Usage returns an [Error] with [CodeUsage].
func Usage(format string, args ...any) *Error {
	return &Error{Code: CodeUsage, Message: fmt.Sprintf(format, args...)}
}

func denied(format string, args ...any) *Error {
	return &Error{Code: CodeDenied, Message: fmt.Sprintf(format, args...)}
}

var (
	// ErrCancelled is the cause of a command's context that the client has cancelled.
	ErrCancelled = errors.New("cancelled")
	// ErrSessionEnded is the cause of a command's context whose session has ended.
	ErrSessionEnded = errors.New("the session has ended")
	// errClosed is the cause of a command's context after Shell.Close, and the error of connections
	// that it closes.
	errClosed = errors.New("the shell is closed")
)

// asError returns the Error to send for err, the error of a command with the context ctx.
func asError(ctx context.Context, err error) *Error {
	var e *Error
	cause := context.Cause(ctx)
	switch {
	case errors.As(err, &e):
		return e
	case cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)):
		e = &Error{Message: cause.Error()}
		if errors.Is(cause, ErrCancelled) {
			e.Code = CodeCancelled
		}
		return e
	}
	return &Error{Message: err.Error()}
}
