package admin

import (
	"context"
	"fmt"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// defaultDrainTimeout is the default of the flag --timeout.
const defaultDrainTimeout = 30 * time.Second

func (a *admin) drainCommands() []shell.Command {
	return []shell.Command{
		{Name: "drain", Usage: "[--timeout TIME] <listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1,
			Help: "Stop a listener: stop accepting, ask its connections to stop, and wait for them.\n\n" +
				"Connections that are live at the timeout are closed. Cancelling the command does not cancel the\n" +
				"drain. Only the program can start the listener again.\n\n" + allHelp,
			Flags: []shell.Flag{{Name: "timeout", Value: "TIME",
				Help: "How long to wait for connections. 0s closes them at once; infinity has no limit. Default: 30s."}},
			Run: a.drain, Complete: a.completeListenerOrAll},
	}
}

// drain stops listeners. Cancelling the command does not cancel the drain: that would close
// connections before the timeout.
func (a *admin) drain(ctx context.Context, c *shell.Call) error {
	timeout, err := durationFlag(c, "timeout", defaultDrainTimeout, 0, infinity)
	if err != nil {
		return err
	}
	selected, err := a.selected(c, c.Args[0])
	if err != nil {
		return err
	}
	var names []string
	connections := 0
	for _, l := range selected {
		if isOwn(c, l) {
			return fmt.Errorf("listener %s has your connection, for which the drain would wait", l.Ref())
		}
		names = append(names, l.Ref())
		connections += l.Info().AllConnections
	}
	abortedBefore := aborted(selected)
	limit, cancel := context.WithoutCancel(ctx), context.CancelFunc(func() {})
	if timeout != infinity {
		limit, cancel = context.WithTimeout(limit, timeout)
	}
	start, done := time.Now(), make(chan error, 1)
	go func() {
		defer cancel()
		done <- a.server.Drain(limit, names...)
	}()
	if err := reportDrain(ctx, c, selected, done); err != nil {
		return err
	}
	c.Return(shell.Fields{
		{Key: "drained", Title: "Listeners drained", Value: len(selected)},
		{Key: "connections", Title: "Connections at the start", Value: connections},
		{Key: "closed", Title: "Closed at the timeout", Value: int(aborted(selected) - abortedBefore)},
		{Key: "duration", Title: "Duration", Value: time.Since(start)},
	})
	return nil
}

// aborted returns how many connections of the listeners were closed at the shutdown timeout.
func aborted(listeners []*ranch.Listener) (n uint64) {
	for _, l := range listeners {
		n += l.Info().Reasons[conns.Aborted]
	}
	return n
}

// reportDrain waits for the end of a drain and reports the number of live connections each second.
func reportDrain(ctx context.Context, c *shell.Call, listeners []*ranch.Listener, done <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			n := 0
			for _, l := range listeners {
				n += l.Info().AllConnections
			}
			fmt.Fprintf(c.Out, "%s live\n", plural(n, "connection"))
		case <-ctx.Done():
			return &shell.Error{Code: shell.CodeCancelled, Message: fmt.Sprintf("%v; the drain continues", context.Cause(ctx))}
		}
	}
}
