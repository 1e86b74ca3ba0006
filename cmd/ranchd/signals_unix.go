//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifications returns the signals that run acts on. There is room for some that
// arrive while it is busy; package signal drops what does not fit.
func notifications() <-chan os.Signal {
	// Without this a log reader that goes away (ranchd 2>&1 | head) takes the server,
	// and every connection, with it.
	signal.Ignore(syscall.SIGPIPE)
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	return c
}

// asksForInfo tells the signal that asks what the listeners do from those that stop.
func asksForInfo(sig os.Signal) bool { return sig == syscall.SIGUSR1 }

// asksForReload does so if there are files to read anew. If not, it is what it always was: the
// terminal has gone.
func asksForReload(sig os.Signal) bool { return sig == syscall.SIGHUP }
