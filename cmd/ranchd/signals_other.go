//go:build !unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifications returns the signals that run handles. The channel has a buffer because package
// signal drops signals that arrive while run is busy.
func notifications() <-chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

func requestsInfo(os.Signal) bool { return false }

func requestsReload(os.Signal) bool { return false }

func requestsUpgrade(os.Signal) bool { return false }
