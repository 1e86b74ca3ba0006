package main

import (
	"context"
	"errors"
	"time"

	"goranch/conns"
)

// drainLogInterval is how often a drain logs the number of live connections.
const drainLogInterval = time.Second

// drain stops all listeners within the shutdown timeout.
func (d *daemon) drain(abort context.Context) error {
	ctx, cancel := abort, context.CancelFunc(func() {})
	if d.ShutdownTimeout != infinity {
		ctx, cancel = context.WithTimeout(abort, d.ShutdownTimeout)
	}
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.server.Drain(ctx) }()
	tick := time.NewTicker(drainLogInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			d.log.Info("draining", "connections", d.liveConnections())
		}
	}
}

func (d *daemon) liveConnections() (n int) {
	for _, l := range d.listeners {
		n += l.Info().AllConnections
	}
	return n
}

// logExit logs the result of a drain and returns the exit code for it.
func (d *daemon) logExit(err error) int {
	var accepted, aborted uint64
	for _, l := range d.listeners {
		info := l.Info()
		accepted += info.Accepted
		aborted += info.Reasons[conns.Aborted]
	}
	log := d.log.With("accepted", accepted, "closed", aborted)
	var stuck *conns.StuckError
	switch {
	case errors.As(err, &stuck):
		log.Error("exiting although protocols are still running", "err", err)
		return exitStuck
	case err != nil:
		log.Error("exiting; stopping a listener failed", "err", err)
		return exitFailed
	case aborted > 0 && d.ShutdownTimeout > 0: // with 0, closing them is intended
		log.Warn("stopped; connections were closed at the shutdown timeout", "limit", formatTimeout(d.ShutdownTimeout))
		return exitAborted
	}
	log.Info("stopped")
	return exitOK
}

// formatTimeout returns a timeout as the flag has it.
func formatTimeout(d time.Duration) string {
	if d == infinity {
		return "infinity"
	}
	return d.String()
}
