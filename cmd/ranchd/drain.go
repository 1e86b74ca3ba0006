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
	DrainDelay  string `kind:"pace" on:"echo,shell,topics,packet,web,relay" change:"now" placeholder:"TIME" default:"0s" help:"How long listeners still accept connections after the first signal to stop. The readiness probe fails meanwhile, so that load balancers send no new ones. Default: ${default}."`
	DrainSpread string `kind:"pace" on:"echo,shell,topics,packet,web,relay" change:"now" placeholder:"TIME" default:"0s" help:"Period after --drain-delay over which connections are asked to stop, each at a random time, so that clients do not all reconnect at once. --shutdown-timeout begins after it. Default: ${default}."`
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
	d.endChanges()
	d.notify.stopping()
	limit := d.config().ShutdownTimeout
	ctx, cancel := d.drainLimit(abort, d.all()...)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := d.drainListeners(ctx, false)
		d.removed.Wait() // their drains have begun earlier
		if ctx.Err() != nil && limit > 0 {
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
			n := d.liveConnections()
			d.log.Info("draining", "connections", n)
			d.notify.draining(n)
		}
	}
}

// drainLimit returns a context that ends when the listeners have to be drained.
func (d *daemon) drainLimit(ctx context.Context, all ...*running) (context.Context, context.CancelFunc) {
	limit := d.config().ShutdownTimeout
	if limit == infinity {
		return context.WithCancel(ctx)
	}
	var longest time.Duration
	for _, r := range all {
		o := r.l.Options()
		longest = max(longest, o.DrainDelay+o.DrainSpread)
	}
	return context.WithTimeout(ctx, limit+longest)
}

// adminTime is how long the connections of operators may take to end when the shutdown timeout has
// passed.
const adminTime = time.Second

// drainListeners drains the listeners of operators, or all others.
func (d *daemon) drainListeners(ctx context.Context, operators bool) error {
	all := d.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, r := range all {
		if r.config.Service.isOperators() != operators {
			continue
		}
		wg.Go(func() {
			if err := r.l.Drain(ctx); !errors.Is(err, ranch.ErrStopped) { // else an operator has drained it
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dropPace makes the drain of listeners that have not served yet immediate.
func (d *daemon) dropPace() {
	for _, r := range d.all() {
		r.l.ChangeOptions(func(o *ranch.Options) { o.DrainDelay, o.DrainSpread = 0, 0 })
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
