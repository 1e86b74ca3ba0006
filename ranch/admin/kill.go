package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"goranch/conns"
	"goranch/protocol/shell"
	"goranch/ranch"
)

const endUsage = "<id> ... | <filter> ... --yes"

// endHelp explains the filters of kill and end.
const endHelp = "\n\nA filter requires --yes; without it the answer is the number of matching connections. A filter\n" +
	"never matches your own connection." + liveFilterHelp

func (a *admin) killCommands() []shell.Command {
	kill := endMode{(*ranch.Listener).Kill, "close", "closed", shell.Field{Key: "killed", Title: "Killed"}}
	end := endMode{(*ranch.Listener).End, "end", "asked to stop", shell.Field{Key: "asked", Title: "Asked to stop"}}
	return []shell.Command{
		{Name: "kill", Usage: endUsage, Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: maxTerms,
			Help:  "Close connections at once, by their ids or all that match a filter." + endHelp,
			Flags: []shell.Flag{{Name: "yes", Help: "Close all connections that match the filter."}},
			Run:   a.endCommand(kill), Complete: a.completeFilter(live)},
		{Name: "end", Usage: endUsage, Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: maxTerms,
			Help: "Ask connections to stop, by their ids or all that match a filter.\n\n" +
				"A connection can still answer what it has received. It is closed if it has not ended within the\n" +
				"shutdown-timeout of its listener. Connections that were asked before are not counted." + endHelp,
			Flags: []shell.Flag{{Name: "yes", Help: "Ask all connections that match the filter."}},
			Run:   a.endCommand(end), Complete: a.completeFilter(live)},
	}
}

// endMode is a way to end connections: kill or end.
type endMode struct {
	do     func(*ranch.Listener, conns.Query) int
	verb   string
	done   string
	result shell.Field // without its value
}

func (e endMode) answer(c *shell.Call, n int) {
	e.result.Value = n
	c.Return(shell.Fields{e.result})
}

// endCommand returns a command that ends connections.
func (a *admin) endCommand(e endMode) func(context.Context, *shell.Call) error {
	return func(_ context.Context, c *shell.Call) error {
		if slices.ContainsFunc(c.Args, func(s string) bool { return strings.ContainsAny(s, "=<>!") }) {
			return a.endMatching(c, e)
		}
		return a.endIDs(c, e)
	}
}

func (a *admin) endMatching(c *shell.Call, e endMode) error {
	f, err := a.parseFilter(c, live)
	if err != nil {
		return err
	}
	own, confirmed := c.Conn().ID(), c.Flags["yes"] != ""
	n := 0
	for _, l := range a.listeners() {
		match := func(i *conns.Info) bool { return i.ID != own && f.matchConn(l.Ref(), i) }
		if confirmed {
			n += e.do(l, conns.Query{Match: match})
		} else {
			_, m := l.Select(conns.Query{Limit: 1, Match: match})
			n += m
		}
	}
	if !confirmed {
		return shell.Usage("%s matches %s; add --yes to %s all that match", f, plural(n, "connection"), e.verb)
	}
	e.answer(c, n)
	return nil
}

func (a *admin) endIDs(c *shell.Call, e endMode) error {
	ids := make([]uint64, len(c.Args))
	for i, s := range c.Args {
		id, err := parseID(s)
		if err != nil {
			return shell.Usage("%q: allowed are connection ids such as 7, and filters such as peer=10.0.0.0/8", s)
		}
		ids[i] = id
	}
	var faults []error
	n := 0
	for _, id := range ids {
		l, i, err := a.connection(id)
		if err == nil && e.do(l, conns.Query{ID: id}) == 0 { // it ended in the meantime
			_, i, err = a.connection(id)
			if err == nil && i.Ending {
				err = fmt.Errorf("connection %d was asked to stop before", id)
			}
		}
		if err == nil {
			n++
		} else {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		if n > 0 {
			faults = append(faults, fmt.Errorf("%s %s", plural(n, "connection"), e.done))
		}
		return errors.Join(faults...)
	}
	e.answer(c, n)
	return nil
}
