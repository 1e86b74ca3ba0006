//go:build !unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifications returns the signals that run acts on. There is room for some that
// arrive while it is busy; package signal drops what does not fit.
func notifications() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

func asksForInfo(os.Signal) bool { return false }

func asksForReload(os.Signal) bool { return false }
