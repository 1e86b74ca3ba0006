package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"goranch/conns"
	"goranch/protocol/shell"
)

func (a *admin) killCommands() []shell.Command {
	return []shell.Command{
		{Name: "kill", Usage: "<id> ... | <filter> ... --yes", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: maxTerms,
			Help: "Close connections at once, by their ids or all that match a filter.\n\n" +
				"A filter requires --yes; without it the answer is the number of matching connections. A filter\n" +
				"never matches your own connection." + liveFilterHelp,
			Flags: []shell.Flag{{Name: "yes", Help: "Close all connections that match the filter."}},
			Run:   a.kill, Complete: a.completeFilter(live)},
	}
}

func (a *admin) kill(_ context.Context, c *shell.Call) error {
	if !slices.ContainsFunc(c.Args, func(s string) bool { return strings.ContainsAny(s, "=<>!") }) {
		return a.killIDs(c)
	}
	f, err := a.parseFilter(c, live)
	if err != nil {
		return err
	}
	own, confirmed := c.Conn().ID(), c.Flags["yes"] != ""
	n := 0
	for _, l := range a.listeners() {
		match := func(i *conns.Info) bool { return i.ID != own && f.matchConn(l.Ref(), i) }
		if confirmed {
			n += l.Kill(conns.Query{Match: match})
		} else {
			_, m := l.Select(conns.Query{Limit: 1, Match: match})
			n += m
		}
	}
	if !confirmed {
		return shell.Usage("%s matches %s; add --yes to close all that match", f, plural(n, "connection"))
	}
	c.Return(shell.Fields{{Key: "killed", Title: "Killed", Value: n}})
	return nil
}

func (a *admin) killIDs(c *shell.Call) error {
	ids := make([]uint64, len(c.Args))
	for i, s := range c.Args {
		id, err := parseID(s)
		if err != nil {
			return shell.Usage("%q: allowed are connection ids such as 7, and filters such as peer=10.0.0.0/8", s)
		}
		ids[i] = id
	}
	var faults []error
	killed := 0
	for _, id := range ids {
		l, _, err := a.connection(id)
		if err == nil && l.Kill(conns.Query{ID: id}) == 0 { // it ended in the meantime
			_, _, err = a.connection(id)
		}
		if err == nil {
			killed++
		} else {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		if killed > 0 {
			faults = append(faults, fmt.Errorf("%s closed", plural(killed, "connection")))
		}
		return errors.Join(faults...)
	}
	c.Return(shell.Fields{{Key: "killed", Title: "Killed", Value: killed}})
	return nil
}
