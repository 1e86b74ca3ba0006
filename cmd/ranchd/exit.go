package main

import (
	"os"
	"syscall"
)

// Exit codes. As in Unix shells, 128 is added to the number of a signal.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitAborted = 3
	exitStuck   = 4
	exitSignal  = 128
)

const exitHelp = `Exit codes:
  0       stopped, or nothing to do (--help, --version, --check, check, config)
  1       a listener could not be started or stopped; none is left running
  2       invalid flags or configuration; nothing was opened
  3       connections were closed at the shutdown timeout
  4       protocols are still running although their connections were closed
  128+n   a second signal ended the process: 130 for SIGINT, 143 for SIGTERM
`

// signalExit returns the exit code after a second signal.
func signalExit(sig os.Signal) int {
	if n, ok := sig.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return exitSignal
}
