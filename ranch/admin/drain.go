package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// defaultDrainTimeout is the default of the flag --timeout.
const defaultDrainTimeout = 30 * time.Second

func (a *admin) drainCommands() []shell.Command {
	return []shell.Command{
		{Name: "drain", Usage: "[--timeout TIME] [--delay TIME] [--spread TIME] [--watch] <listener> | all", Role: shell.Operator, Changes: true, MaxArgs: 1,
			Help: "Stop a listener: stop accepting, ask its connections to stop, and wait for them.\n\n" +
				"Connections that are live at the timeout are closed. Cancelling the command does not cancel the\n" +
				"drain. Only the program can start the listener again. With --watch and without a listener the\n" +
				"command shows the drains that are in progress.\n\n" + allHelp,
			Flags: []shell.Flag{
				{Name: "timeout", Value: "TIME",
					Help: "How long to wait for connections, after delay and spread, or infinity. 0s closes them at once. Default: 30s."},
				{Name: "delay", Value: "TIME", Help: "How long the listener still accepts connections while it is not ready. Default: that of the listener."},
				{Name: "spread", Value: "TIME", Help: "Period over which connections are asked to stop, at random times. Default: that of the listener."},
				{Name: "watch", Help: "Show the progress, repeatedly until the drain has ended."},
			},
			Run: a.drain, Complete: a.completeListenerOrAll},
	}
}

// drainJob is a drain that a command has started, or that it watches.
type drainJob struct {
	listeners   []*ranch.Listener
	connections int    // at the start
	aborted     uint64 // before
	began       time.Time
	done        chan error // nil: the command has not started it
}

// drain stops listeners. Cancelling the command does not cancel the drain: that would close
// connections before the timeout.
func (a *admin) drain(ctx context.Context, c *shell.Call) error {
	if len(c.Args) == 0 {
		return a.watchDrains(ctx, c)
	}
	timeout, err := durationFlag(c, "timeout", defaultDrainTimeout, 0, infinity)
	if err != nil {
		return err
	}
	selected, err := a.selected(c, c.Args[0])
	if err != nil {
		return err
	}
	for _, l := range selected {
		if isOwn(c, l) {
			return fmt.Errorf("listener %s has your connection, for which the drain would wait", l.Ref())
		}
	}
	slow, err := setDrainTimes(c, selected)
	if err != nil {
		return err
	}
	if timeout > 0 && timeout != infinity {
		timeout += slow
	}
	j := a.startDrain(context.WithoutCancel(ctx), selected, timeout)
	if err := j.report(ctx, c); err != nil {
		return err
	}
	c.Return(shell.Fields{
		{Key: "drained", Title: "Listeners drained", Value: len(selected)},
		{Key: "connections", Title: "Connections at the start", Value: j.connections},
		{Key: "closed", Title: "Closed at the timeout", Value: int(aborted(selected) - j.aborted)},
		{Key: "duration", Title: "Duration", Value: time.Since(j.began)},
	})
	return nil
}

// maxDrainTime is the longest delay or spread.
const maxDrainTime = 24 * time.Hour

// setDrainTimes sets the delay and the spread of the flags, and returns the longest sum of both.
func setDrainTimes(c *shell.Call, listeners []*ranch.Listener) (longest time.Duration, err error) {
	delay, err := durationFlag(c, "delay", -1, 0, maxDrainTime)
	if err != nil {
		return 0, err
	}
	spread, err := durationFlag(c, "spread", -1, 0, maxDrainTime)
	if err != nil {
		return 0, err
	}
	for _, l := range listeners {
		if delay >= 0 || spread >= 0 {
			l.ChangeOptions(func(o *ranch.Options) { // cannot fail: both are valid
				if delay >= 0 {
					o.DrainDelay = delay
				}
				if spread >= 0 {
					o.DrainSpread = spread
				}
			})
		}
		o := l.Options()
		longest = max(longest, o.DrainDelay+o.DrainSpread)
	}
	return longest, nil
}

func (a *admin) startDrain(ctx context.Context, selected []*ranch.Listener, timeout time.Duration) *drainJob {
	j := &drainJob{listeners: selected, aborted: aborted(selected), began: time.Now(), done: make(chan error, 1)}
	var names []string
	for _, l := range selected {
		names = append(names, l.Ref())
		j.connections += l.Info().AllConnections
	}
	cancel := context.CancelFunc(func() {})
	if timeout != infinity {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	go func() {
		defer cancel()
		j.done <- a.server.Drain(ctx, names...)
	}()
	return j
}

// watchDrains shows the drains that are in progress.
func (a *admin) watchDrains(ctx context.Context, c *shell.Call) error {
	if c.Flags["watch"] == "" {
		return shell.Usage("drain: the name of a listener is missing, or all; --watch alone shows the drains that are in progress")
	}
	j := &drainJob{listeners: slices.DeleteFunc(a.listeners(), func(l *ranch.Listener) bool { return l.Info().Drain == nil })}
	if len(j.listeners) == 0 {
		return errors.New("no listener is draining")
	}
	return j.report(ctx, c)
}

// aborted returns how many connections of the listeners were closed at the shutdown timeout.
func aborted(listeners []*ranch.Listener) (n uint64) {
	for _, l := range listeners {
		n += l.Info().Reasons[conns.Aborted]
	}
	return n
}

// report waits for the end of the drain and reports its progress each second.
func (j *drainJob) report(ctx context.Context, c *shell.Call) error {
	show := func() error {
		_, err := fmt.Fprintf(c.Out, "%s live\n", plural(j.live(), "connection"))
		return err
	}
	if c.Flags["watch"] != "" {
		show = func() error { return c.Frame(j.table()) }
		if err := show(); err != nil {
			return j.interrupted(err)
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-j.done:
			if c.Flags["watch"] != "" {
				err = errors.Join(err, show())
			}
			return err
		case <-tick.C:
			if err := show(); err != nil {
				return j.interrupted(err)
			}
			if j.done == nil && j.hasEnded() {
				return nil
			}
		case <-ctx.Done():
			return j.interrupted(context.Cause(ctx))
		}
	}
}

func (j *drainJob) interrupted(cause error) error {
	return &shell.Error{Code: shell.CodeCancelled, Message: fmt.Sprintf("%v; the drain continues", cause)}
}

func (j *drainJob) live() (n int) {
	for _, l := range j.listeners {
		n += l.Info().AllConnections
	}
	return n
}

func (j *drainJob) hasEnded() bool {
	return !slices.ContainsFunc(j.listeners, func(l *ranch.Listener) bool { return l.Status() != ranch.Stopped })
}
