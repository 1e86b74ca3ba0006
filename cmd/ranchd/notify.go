package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"goranch/internal/sdnotify"
	"goranch/internal/termtext"
)

// notifier tells the service manager what this process does. A process that was replaced says
// nothing more: the manager would take it for news of the successor.
type notifier struct {
	n       *sdnotify.Notifier
	log     *slog.Logger
	silent  atomic.Bool
	stopped atomic.Bool            // it drains
	cluster atomic.Pointer[string] // why it is degraded; nil: it is not
	reload  atomic.Pointer[string] // why the last reload failed; nil: it has not
}

func newNotifier(log *slog.Logger) *notifier {
	n, err := sdnotify.New(os.Getenv, os.Getpid())
	if err != nil {
		log.Warn("the service manager is not notified", "err", err)
	}
	return &notifier{n: n, log: log}
}

func (n *notifier) send(assignments ...string) {
	if n.silent.Load() {
		return
	}
	if err := n.n.Send(assignments...); err != nil {
		n.log.Warn("notifying the service manager failed", "err", err)
	}
}

// ready reports that the process serves, after its start or a reload.
func (n *notifier) ready() {
	if !n.stopped.Load() {
		n.send(sdnotify.Ready, sdnotify.Status(n.serving()))
	}
}

// serving is the status of a process that serves.
func (n *notifier) serving() string {
	status := "serving"
	if fault := n.reload.Load(); fault != nil {
		status += "; the last reload has failed: " + *fault
	}
	if reason := n.cluster.Load(); reason != nil {
		status += "; cluster degraded: " + *reason
	}
	return status
}

// maxStatusFault is how many bytes of a fault the status has: the manager drops datagrams of more
// than 4 KiB.
const maxStatusFault = 512

// reloadEnded reports the faults for which a reload has changed nothing; without any it has
// succeeded. The manager cannot be told otherwise: for it, a reload that ends is a success.
func (n *notifier) reloadEnded(faults []error) {
	var next *string
	if len(faults) > 0 {
		text := termtext.Line(faults[0].Error())
		if len(text) > maxStatusFault {
			text = strings.ToValidUTF8(text[:maxStatusFault], "") + "…"
		}
		if more := len(faults) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more, in the log)", more)
		}
		next = &text
	}
	if before := n.reload.Swap(next); !n.stopped.Load() && (before != nil || next != nil) {
		n.send(sdnotify.Status(n.serving()))
	}
}

// clusterState reports why the cluster is degraded; "" is that it is not.
func (n *notifier) clusterState(reason string) {
	before := n.cluster.Load()
	if reason == "" {
		n.cluster.Store(nil)
	} else {
		reason = termtext.Line(reason)
		n.cluster.Store(&reason)
	}
	if !n.stopped.Load() && (reason != "" || before != nil) {
		n.send(sdnotify.Status(n.serving()))
	}
}

// reloading reports that a reload begins.
func (n *notifier) reloading() {
	if !n.stopped.Load() && n.n.Enabled() {
		n.send(sdnotify.Reloading())
	}
}

// drainExtension is by how much a drain extends the time limit of the manager, each
// drainLogInterval.
const drainExtension = 10 * time.Second

// stopping reports that the process drains.
func (n *notifier) stopping() {
	n.stopped.Store(true)
	n.send(sdnotify.Stopping, sdnotify.Status("draining"), sdnotify.ExtendTimeout(drainExtension))
}

// draining reports the progress of a drain.
func (n *notifier) draining(connections int) {
	n.send(sdnotify.Status(fmt.Sprintf("draining, %d connections", connections)), sdnotify.ExtendTimeout(drainExtension))
}

// handOver makes the manager supervise the successor, which notifies it from now on.
func (n *notifier) handOver(pid int) {
	n.send(sdnotify.MainPID(pid))
	n.silent.Store(true)
}

// watch sends signs of life as long as all acceptors answer, until ctx ends. Without a watchdog it
// returns at once.
func (n *notifier) watch(ctx context.Context, check func(context.Context) error) {
	interval := n.n.WatchdogInterval()
	if interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		limit, cancel := context.WithTimeout(ctx, interval/3)
		err := check(limit)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Error("acceptors do not answer; the watchdog of the service manager gets no sign of life", "err", err)
		default:
			n.send(sdnotify.Watchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
