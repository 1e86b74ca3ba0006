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
	d.endChanges()
	ctx, cancel := abort, context.CancelFunc(func() {})
	if limit := d.config().ShutdownTimeout; limit != infinity {
		ctx, cancel = context.WithTimeout(abort, limit)
	}
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := d.server.Drain(ctx)
		d.removed.Wait() // their drains have the same limit and began earlier
		done <- err
	}()
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
	for _, l := range d.server.Listeners() {
		n += l.Info().AllConnections
	}
	return n
}

// logExit logs the result of a drain and returns the exit code for it.
func (d *daemon) logExit(err error) int {
	var accepted, aborted uint64
	for _, r := range d.all() {
		info := r.l.Info()
		accepted += info.Accepted
		aborted += info.Reasons[conns.Aborted]
	}
	log, limit := d.log.With("accepted", accepted, "closed", aborted), d.config().ShutdownTimeout
	var stuck *conns.StuckError
	switch {
	case errors.As(err, &stuck):
		log.Error("exiting although protocols are still running", "err", err)
		return exitStuck
	case err != nil:
		log.Error("exiting; stopping a listener failed", "err", err)
		return exitFailed
	case aborted > 0 && limit > 0: // with 0, closing them is intended
		log.Warn("stopped; connections were closed at the shutdown timeout", "limit", formatTimeout(limit))
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
