package main

import (
	"os"
	"syscall"
)

// Exit codes. Those of the shell for a program that a signal ended start at 128.
const (
	exitInOrder = 0
	exitFailed  = 1
	exitUsage   = 2
	exitCut     = 3
	exitStuck   = 4
	exitSignal  = 128
)

const exitHelp = `Exit codes:
  0       ended in order, or there was nothing to do (--help, --version, --check)
  1       a listener could not be started or stopped; none is left running
  2       wrong flags or configuration; nothing was opened
  3       the drain limit passed, and connections had to be closed
  4       protocols ignored that their connections were closed
  128+n   a second signal ended it at once: 130 for SIGINT, 143 for SIGTERM
`

// signalled returns the exit code for the end by sig.
func signalled(sig os.Signal) int {
	if n, ok := sig.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return exitSignal
}
