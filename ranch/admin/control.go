package admin

import (
	"context"
	"errors"
	"math"
	"strconv"

	"goranch/protocol/shell"
	"goranch/ranch"
)

// allHelp explains the argument "all".
const allHelp = `"all" excludes the listeners of the shell, including that of your connection.`

func (a *admin) controlCommands() []shell.Command {
	return []shell.Command{
		{Name: "cap", Usage: "<listener> <n> | <listener> unlimited", Role: shell.Operator, Changes: true, MinArgs: 2, MaxArgs: 2,
			Help: "Set the maximum number of connections of a listener, effective at once.\n\n" +
				"0 admits no connection. Lowering the cap closes no connection unless the limit evict is set.",
			Run: a.setCap, Complete: a.completeCap},
		{Name: "suspend", Usage: "<listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1,
			Help: "Stop accepting connections; live connections are not affected.\n\n" + allHelp,
			Run:  a.suspend, Complete: a.completeListenerOrAll},
		{Name: "resume", Usage: "<listener> | all", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 1,
			Help: "Accept connections again after suspend.\n\n" + allHelp,
			Run:  a.resume, Complete: a.completeListenerOrAll},
	}
}

func (a *admin) setCap(_ context.Context, c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	n := ranch.Unlimited
	if c.Args[1] != "unlimited" {
		if n, err = strconv.Atoi(c.Args[1]); err != nil || n < 0 || n > math.MaxInt32 {
			return shell.Usage("cap %q: allowed are the numbers 0 to %d, and unlimited", c.Args[1], math.MaxInt32)
		}
	}
	previous := l.Info().MaxConnections
	if err := l.SetMaxConnections(n); err != nil {
		return err
	}
	c.Return(shell.Fields{
		{Key: "listener", Title: "Listener", Value: l.Ref()},
		{Key: "cap", Title: "Cap", Value: capValue(n)},
		{Key: "previous", Title: "Previous cap", Value: capValue(previous)},
		{Key: "active", Title: "Active connections", Value: l.Info().ActiveConnections},
	})
	return nil
}

func (a *admin) suspend(_ context.Context, c *shell.Call) error {
	return a.forEach(c, (*ranch.Listener).Suspend)
}

func (a *admin) resume(_ context.Context, c *shell.Call) error {
	return a.forEach(c, (*ranch.Listener).Resume)
}

// forEach calls do for each selected listener and returns a table of their states.
func (a *admin) forEach(c *shell.Call, do func(*ranch.Listener) error) error {
	selected, err := a.selected(c, c.Args[0])
	if err != nil {
		return err
	}
	var faults []error
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "status", Title: "STATUS"}, {Key: "addr", Title: "ADDRESS"},
	}}
	for _, l := range selected {
		// With "all", a listener that stopped in the meantime is no fault.
		if err := do(l); err != nil && (c.Args[0] != all || !errors.Is(err, ranch.ErrStopped)) {
			faults = append(faults, err)
		}
		i := l.Info()
		t.Rows = append(t.Rows, []any{i.Ref, string(i.Status), addrString(i.Addr)})
	}
	c.Return(t)
	return errors.Join(faults...)
}
