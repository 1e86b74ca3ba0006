package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"goranch/conns"
	"goranch/ranch"
)

// drainFlags are the flags of the pace of a stop.
type drainFlags struct {
	DrainDelay  string `placeholder:"TIME" default:"0s" help:"How long listeners still accept connections after the first signal to stop, while they are not ready, so that a load balancer sends no more. Default: ${default}."`
	DrainSpread string `placeholder:"TIME" default:"0s" help:"Period after that over which connections are asked to stop, each at a random time, so that their clients do not all connect elsewhere at once. --shutdown-timeout begins after it. Default: ${default}."`
}

// maxPace is the longest delay or spread: longer ones are mistakes.
const maxPace = 24 * time.Hour

// pace reads a value of --drain-delay or --drain-spread.
func pace(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxPace {
		return 0, fmt.Errorf("allowed are 0 and durations such as 500ms, 5s or 2m, up to %v", maxPace)
	}
	return d, nil
}

// drainLogInterval is how often a drain logs the number of live connections.
const drainLogInterval = time.Second

// drain stops all listeners within the shutdown timeout, after delay and spread. The listeners of
// operators are the last, so that they can watch.
func (d *daemon) drain(abort context.Context) error {
	ctx, cancel := abort, context.CancelFunc(func() {})
	if d.ShutdownTimeout != infinity {
		ctx, cancel = context.WithTimeout(abort, d.ShutdownTimeout+d.Options.DrainDelay+d.Options.DrainSpread)
	}
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := d.drainListeners(ctx, false)
		if ctx.Err() != nil && d.ShutdownTimeout > 0 {
			last, cancel := context.WithTimeout(abort, adminTime)
			defer cancel()
			ctx = last
		}
		done <- errors.Join(err, d.drainListeners(ctx, true))
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

// adminTime is how long the connections of operators may take to end when the shutdown timeout has
// passed.
const adminTime = time.Second

// drainListeners drains the listeners of operators, or all others.
func (d *daemon) drainListeners(ctx context.Context, operators bool) error {
	errs := make([]error, len(d.listeners))
	var wg sync.WaitGroup
	for i, l := range d.listeners {
		if d.Endpoints[i].Service.isOperators() != operators {
			continue
		}
		wg.Go(func() {
			if err := l.Drain(ctx); !errors.Is(err, ranch.ErrStopped) { // else an operator has drained it
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dropPace makes the drain of listeners that have not served yet immediate.
func (d *daemon) dropPace() {
	d.Options.DrainDelay, d.Options.DrainSpread = 0, 0
	for _, l := range d.listeners {
		l.ChangeOptions(func(o *ranch.Options) { o.DrainDelay, o.DrainSpread = 0, 0 })
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
