package admin

import (
	"context"
	"errors"

	"goranch/protocol/shell"
)

// Change is a difference between the configuration in force and the one that a reload has read.
type Change struct {
	// Listener is the name of the listener; "" is the server.
	Listener string
	// Key is the name of the setting; "" if the listener itself is new or is not configured any
	// more.
	Key string
	// Before and After are the values; "" is the default.
	Before, After string
	// Effect says when the change takes effect.
	Effect Effect
}

// Effect says when a change of the configuration takes effect.
type Effect string

// The effects.
const (
	Now     Effect = "changed now"     // for new connections at the latest
	Resume  Effect = "at resume"       // when the listener was suspended and is resumed
	Restart Effect = "needs a restart" // of the server
	Added   Effect = "added"           // the listener was started
	Removed Effect = "draining"        // the listener is stopped, and its connections are asked to stop
)

func (a *admin) reloadCommands() []shell.Command {
	if a.Reload == nil {
		return nil
	}
	return []shell.Command{{Name: "reload", Role: shell.Operator, Changes: true, Run: a.reload,
		Help: "Read the configuration and the files that it names again, and apply what has changed.\n\n" +
			"If anything is invalid, nothing is changed. The answer lists each changed setting, and when the\n" +
			"change takes effect: now, at resume (suspend and resume the listener), or after a restart.\n" +
			"New listeners are started; those that are no longer configured are drained."}}
}

func (a *admin) reload(ctx context.Context, c *shell.Call) error {
	changes, err := a.Reload(ctx)
	if err != nil {
		return errors.Join(errors.New("the configuration was not changed"), err)
	}
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "key", Title: "KEY"},
		{Key: "before", Title: "BEFORE"}, {Key: "after", Title: "AFTER"}, {Key: "effect", Title: "EFFECT"},
	}}
	for _, ch := range changes {
		t.Rows = append(t.Rows, []any{ch.Listener, ch.Key, ch.Before, ch.After, string(ch.Effect)})
	}
	c.Return(t)
	return nil
}
