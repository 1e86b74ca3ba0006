//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifications returns the signals that run handles. The channel has a buffer because package
// signal drops signals that arrive while run is busy.
func notifications() <-chan os.Signal {
	// Writing to a closed pipe, as in "ranchd 2>&1 | head", would otherwise end the process. The
	// signal is caught rather than ignored, because programs that ranchd runs would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return c
}

// requestsInfo reports whether the signal requests listener info in the log.
func requestsInfo(sig os.Signal) bool { return sig == syscall.SIGUSR1 }

// requestsReload reports whether the signal requests a reload of files. Without files,
// SIGHUP stops the server, as when its terminal is closed.
func requestsReload(sig os.Signal) bool { return sig == syscall.SIGHUP }

// requestsUpgrade reports whether the signal requests an upgrade.
func requestsUpgrade(sig os.Signal) bool { return sig == syscall.SIGUSR2 }
