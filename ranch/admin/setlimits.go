package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"goranch/internal/nearest"
	"goranch/protocol/shell"
	"goranch/ranch"
)

func (a *admin) limitCommands() []shell.Command {
	return []shell.Command{
		{Name: "limits", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: -1,
			Help: "List the limits of all listeners, or of one.\n\nThe command limit changes them.",
			Run:  a.showLimits, Complete: a.completeListener},
		{Name: "limit", Usage: "<listener> <name>=<value> ...", Role: shell.Operator, Changes: true, MinArgs: 2, MaxArgs: 1 + len(limits),
			Help: "Change limits of a listener, effective at once.\n\n" +
				"If one of the values is invalid, no limit is changed.\n\n" + limitsHelp(),
			Run: a.setLimits, Complete: a.completeLimit},
	}
}

func limitsHelp() string {
	var b strings.Builder
	for _, l := range limits {
		fmt.Fprintf(&b, "  %-18s %s: %s\n", l.name, l.description, l.allowed)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (a *admin) showLimits(_ context.Context, c *shell.Call) error {
	listeners := a.listeners()
	if len(c.Args) > 1 {
		return shell.Usage("limits changes nothing; to change limits: limit %s", strings.Join(c.Args, " "))
	}
	if len(c.Args) == 1 {
		l, err := a.listener(c.Args[0])
		if err != nil {
			return err
		}
		listeners = []*ranch.Listener{l}
	}
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "limit", Title: "LIMIT"}, {Key: "value", Title: "VALUE"},
		{Key: "description", Title: "DESCRIPTION", Wide: true},
	}}
	for _, l := range listeners {
		o := l.Options()
		for _, lim := range limits {
			t.Rows = append(t.Rows, []any{l.Ref(), lim.name, lim.get(&o), lim.description})
		}
	}
	c.Return(t)
	return nil
}

func (a *admin) setLimits(_ context.Context, c *shell.Call) error {
	l, err := a.listener(c.Args[0])
	if err != nil {
		return err
	}
	changes, err := parseLimits(c.Args[1:])
	if err != nil {
		return err
	}
	t := shell.Table{Columns: []shell.Column{
		{Key: "listener", Title: "LISTENER"}, {Key: "limit", Title: "LIMIT"},
		{Key: "value", Title: "VALUE"}, {Key: "previous", Title: "PREVIOUS"},
	}}
	_, err = l.ChangeOptions(func(o *ranch.Options) {
		for _, i := range slices.Sorted(maps.Keys(changes)) {
			previous := limits[i].get(o)
			limits[i].set(o, changes[i]) // parseLimits has checked the value
			t.Rows = append(t.Rows, []any{l.Ref(), limits[i].name, limits[i].get(o), previous})
		}
	})
	if err != nil {
		return err
	}
	c.Return(t)
	return nil
}

// parseLimits reads arguments of the form name=value and checks the values. The keys of the result
// are indexes in limits. The error joins all faults.
func parseLimits(args []string) (map[int]string, error) {
	changes, scratch := map[int]string{}, ranch.Options{}
	var faults []string
	suggestion := ""
	for _, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		i := limitIndex(name)
		_, repeated := changes[i]
		switch {
		case i < 0 || !hasValue:
			suggestion = nearest.Name(name, limitNames())
			faults = append(faults, fmt.Sprintf("%q: allowed are name=value with the names %s", arg, strings.Join(limitNames(), ", ")))
		case repeated:
			faults = append(faults, fmt.Sprintf("%s is given twice", name))
		case limits[i].set(&scratch, value) != nil:
			faults = append(faults, fmt.Sprintf("%s %q: allowed are %s", name, value, limits[i].allowed))
		default:
			changes[i] = value
		}
	}
	if len(faults) > 0 {
		err := shell.Usage("%s", strings.Join(faults, "\n"))
		err.Suggestion = suggestion
		return nil, err
	}
	return changes, nil
}
