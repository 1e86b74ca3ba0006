package shell

import (
	"context"
	"errors"
	"fmt"
)

// Code tells programs what kind of error an answer is.
type Code string

// Codes of errors.
const (
	CodeFailed    Code = ""          // the command has failed
	CodeDenied    Code = "denied"    // the user may not do that
	CodeUnknown   Code = "unknown"   // there is no such command
	CodeUsage     Code = "usage"     // the command does not take these arguments
	CodeCancelled Code = "cancelled" // the client has cancelled it
)

// Error is an error with a code, as it goes to the client.
type Error struct {
	Code       Code
	Message    string
	Suggestion string // a command that may have been meant; "" is none
}

func (e *Error) Error() string {
	if e.Suggestion != "" {
		return fmt.Sprintf("%s; did you mean %s?", e.Message, e.Suggestion)
	}
	return e.Message
}

// Usage returns the error of arguments that the command does not take.
func Usage(format string, args ...any) *Error {
	return &Error{Code: CodeUsage, Message: fmt.Sprintf(format, args...)}
}

// Denied returns the error of what the user may not do.
func Denied(format string, args ...any) *Error {
	return &Error{Code: CodeDenied, Message: fmt.Sprintf(format, args...)}
}

var (
	// ErrCancelled is the cause with which a command's context ends when the client cancels it.
	ErrCancelled = errors.New("cancelled")
	// ErrSessionEnded is the cause with which it ends when its session does.
	ErrSessionEnded = errors.New("the session has ended")
	// ErrClosed is the cause with which it ends when the shell is closed, and the error of connections after that.
	ErrClosed = errors.New("the shell is closed")
	// ErrCommand is wrapped by the errors of [Registry.Add].
	ErrCommand = errors.New("the command cannot be added")
)

// asError is err as it goes to the client, whose command's context was ctx.
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
