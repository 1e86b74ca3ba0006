package admin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
)

// Upgraded is the result of an upgrade.
type Upgraded struct {
	PID      int           // of the process that serves now
	Sockets  int           // that it has taken over
	Closed   []string      // listeners that it does not have, which are drained
	Duration time.Duration // until it served
}

func (a *admin) upgradeCommands() []shell.Command {
	if a.Upgrade == nil {
		return nil
	}
	return []shell.Command{{Name: "upgrade", Role: shell.Operator, Changes: true, Run: a.upgrade,
		Help: "Start the program again, with the executable now on disk, and hand over the listening sockets.\n\n" +
			"No connection is refused. The new process serves new connections; the old one drains its own. If\n" +
			"the new process fails, the old one continues to serve, and the error says why. Cancelling the\n" +
			"command cancels the upgrade, unless the hand-over has begun."}}
}

func (a *admin) upgrade(ctx context.Context, c *shell.Call) error {
	connections := 0
	for _, i := range a.infos() {
		connections += i.AllConnections
	}
	r, err := a.Upgrade(ctx, func(text string) { fmt.Fprintf(c.Out, "%s\n", termtext.Line(text)) })
	if err != nil {
		return err
	}
	f := shell.Fields{
		{Key: "pid", Title: "New process", Value: r.PID},
		{Key: "sockets", Title: "Sockets handed over", Value: r.Sockets},
		{Key: "connections", Title: "Connections that this process drains", Value: connections},
		{Key: "duration", Title: "Duration", Value: r.Duration},
	}
	if len(r.Closed) > 0 {
		f = append(f, shell.Field{Key: "closed", Title: "Listeners without a successor", Value: strings.Join(r.Closed, " ")})
	}
	c.Return(f)
	return nil
}
