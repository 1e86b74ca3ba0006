package main

import (
	"context"
	"errors"

	"goranch/internal/console"
)

// Exit codes. Those of the shell for a program that a signal ended start at 128.
const (
	exitInOrder     = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnconnected = 3
	exitDenied      = 4
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    the command was carried out
  1    it failed, was cancelled or took longer than --timeout
  2    wrong flags, an unknown command or wrong arguments
  3    no connection, or it broke before the answer
  4    not allowed
  130  interrupted a second time, without waiting for the answer
Of several commands, the code is that of the first that failed.
`

var (
	errInterrupted = errors.New("interrupted")
	errTimeout     = errors.New("it took longer than --timeout, and was told to end")
)

// exitCode returns the code for what became of a command.
func exitCode(err error) int {
	var remote *console.RemoteError
	switch {
	case err == nil:
		return exitInOrder
	case errors.As(err, &remote):
		switch remote.Code {
		case console.CodeDenied:
			return exitDenied
		case console.CodeUnknown, console.CodeUsage:
			return exitUsage
		}
	case errors.Is(err, console.ErrLost), errors.Is(err, console.ErrTakenOver), errors.Is(err, console.ErrClosed):
		return exitUnconnected
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, console.ErrLine):
		return exitUsage
	}
	return exitFailed
}

// connectCode returns the code for why there is no connection.
func connectCode(err error) int {
	var remote *console.RemoteError
	switch {
	case errors.As(err, &remote):
		return exitDenied // the server refuses the token
	case errors.Is(err, context.Canceled):
		return exitFailed
	}
	return exitUnconnected
}
