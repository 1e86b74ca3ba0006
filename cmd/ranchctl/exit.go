package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

// Exit codes. 130 is what Unix shells report for a program that SIGINT has ended.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNoConnection = 3
	exitDenied       = 4
	exitInterrupted  = 130
)

var (
	errInterrupted = errors.New("interrupted")
	errTimeout     = errors.New("the command exceeded --timeout and was cancelled")
	errOutage      = errors.New("gave up reconnecting")
)

// exitCode returns the exit code for the error of a command.
func exitCode(err error) int {
	var failure *shell.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failure):
		switch failure.Code {
		case shell.CodeDenied:
			return exitDenied
		case shell.CodeUnknown, shell.CodeUsage:
			return exitUsage
		}
	case errors.Is(err, client.ErrDisconnected), errors.Is(err, client.ErrTakenOver),
		errors.Is(err, client.ErrClosed), errors.Is(err, errOutage):
		return exitNoConnection
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	}
	return exitFailed
}

// printConnectError prints why ranchctl could not connect, or not again, and if no server accepts
// connections at the address, what to do.
func printConnectError(w io.Writer, err error) {
	fmt.Fprintf(w, "ranchctl: %v\n", err)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(w, "Check that the server is running, or give its address with --connect (for ranchd, that of its flag --admin).")
	}
}

// connectCode returns the exit code for the error of a client that could not connect, or not again.
func connectCode(err error) int {
	var refused *shell.Error
	switch {
	case errors.As(err, &refused):
		return exitDenied // the token
	case errors.Is(err, context.Canceled):
		return exitFailed
	}
	return exitNoConnection
}
