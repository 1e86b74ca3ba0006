package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/nearest"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// all is the name that means every listener.
const all = "all"

// listener finds a listener, or says which may have been meant.
func (a *admin) listener(name string) (*ranch.Listener, error) {
	l, err := a.server.Listener(name)
	if err == nil {
		return l, nil
	}
	names := a.names()
	e := &shell.Error{Message: fmt.Sprintf("there is no listener %q: there are %s", name, strings.Join(names, ", "))}
	if len(names) == 0 {
		e.Message = fmt.Sprintf("there is no listener %q: there are none", name)
	}
	e.Suggestion = nearest.Name(name, names)
	return nil, e
}

// listeners returns all listeners, sorted by name.
func (a *admin) listeners() []*ranch.Listener { return a.server.Listeners() }

// names returns the names of all listeners, sorted.
func (a *admin) names() []string {
	var names []string
	for _, l := range a.listeners() {
		names = append(names, l.Ref())
	}
	return names
}

// chosen returns the listeners that a command names: one, or all but those that are kept.
func (a *admin) chosen(c *shell.Call, name string) ([]*ranch.Listener, error) {
	if name != all {
		l, err := a.listener(name)
		if err != nil {
			return nil, err
		}
		return []*ranch.Listener{l}, nil
	}
	found := slices.DeleteFunc(a.listeners(), func(l *ranch.Listener) bool { return a.kept(c, l) })
	if len(found) == 0 {
		return nil, errors.New("there are no listeners but those of the shell: name one to mean it")
	}
	return found, nil
}

// kept reports whether "all" leaves l out.
func (a *admin) kept(c *shell.Call, l *ranch.Listener) bool {
	return slices.Contains(a.Keep, l.Ref()) || own(c, l)
}

// own reports whether the operator is connected by l.
func own(c *shell.Call, l *ranch.Listener) bool {
	_, is := l.Connection(c.Conn().ID())
	return is
}

// connection finds a live connection.
func (a *admin) connection(id uint64) (*ranch.Listener, conns.Info, error) {
	listeners := a.listeners()
	for _, l := range listeners {
		if i, ok := l.Connection(id); ok {
			return l, i, nil
		}
	}
	for _, l := range listeners {
		for _, e := range l.RecentlyClosed() {
			if e.ID == id {
				return nil, conns.Info{}, fmt.Errorf("connection %d of %s has ended %v ago: %v", id, l.Ref(), time.Since(e.Closed).Round(time.Second), e.Reason)
			}
		}
	}
	return nil, conns.Info{}, fmt.Errorf("there is no connection %d", id)
}

func parseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, shell.Usage("connection %q: allowed are the numbers that the command connections shows", s)
	}
	return id, nil
}

// known reports a filter that names a listener there is not.
func (a *admin) known(f Filter) error {
	for _, t := range f.terms {
		if name, ok := strings.CutPrefix(t.text, "listener="); ok {
			if _, err := a.listener(strings.TrimPrefix(name, "=")); err != nil {
				return err
			}
		}
	}
	return nil
}

// filter reads the filter of a command: its arguments, and its flag.
func (a *admin) filter(c *shell.Call, of scope) (Filter, error) {
	words, err := splitTerms(c.Flags["filter"])
	if err != nil {
		return Filter{}, err
	}
	if name := c.Flags["listener"]; name != "" {
		words = append(words, "listener="+name)
	}
	f, err := newFilter(append(words, c.Args...), of)
	if err != nil {
		return Filter{}, err
	}
	return f, a.known(f)
}

// whole reads a flag that is a whole number.
func whole(c *shell.Call, name string, otherwise, lowest, highest int) (int, error) {
	s, given := c.Flags[name]
	if !given {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lowest || n > highest {
		return 0, shell.Usage("flag --%s %q: allowed are the numbers %d to %d", name, s, lowest, highest)
	}
	return n, nil
}

// infinity is a time that does not pass.
const infinity = time.Duration(math.MaxInt64)

// period reads a flag that is a time.
func period(c *shell.Call, name string, otherwise, lowest, highest time.Duration) (time.Duration, error) {
	s, given := c.Flags[name]
	if !given {
		return otherwise, nil
	}
	if s == "infinity" && highest == infinity {
		return infinity, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < lowest || d > highest {
		if highest == infinity {
			return 0, shell.Usage("flag --%s %q: allowed are times from %v on, and infinity", name, s, lowest)
		}
		return 0, shell.Usage("flag --%s %q: allowed are times from %v to %v", name, s, lowest, highest)
	}
	return d, nil
}

// completeListener completes the first argument.
func (a *admin) completeListener(_ context.Context, _ *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	return a.names()
}

func (a *admin) completeListenerOrAll(ctx context.Context, c *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	return append(a.completeListener(ctx, c, args), all)
}

// maxIDs is how many ids are offered as completion.
const maxIDs = 50

func (a *admin) completeID(_ context.Context, _ *shell.Call, args []string) []string {
	if len(args) > 1 {
		return nil
	}
	last, ids := args[len(args)-1], []string(nil)
	for _, l := range a.listeners() {
		page, _ := l.Select(conns.Query{Limit: maxIDs, Match: func(i *conns.Info) bool {
			return strings.HasPrefix(strconv.FormatUint(i.ID, 10), last)
		}})
		for _, i := range page {
			ids = append(ids, strconv.FormatUint(i.ID, 10))
		}
	}
	return ids[:min(len(ids), maxIDs)]
}

// completeFilter offers fields, and the values of those that have few.
func (a *admin) completeFilter(of scope) func(context.Context, *shell.Call, []string) []string {
	return func(_ context.Context, _ *shell.Call, args []string) []string {
		last := args[len(args)-1]
		name, _, has := strings.Cut(last, "=")
		var words, values []string
		if !has {
			for _, name := range fieldNames(of) {
				words = append(words, name+fieldOf(name, of).ops[0])
			}
			return words
		}
		switch name {
		case "listener":
			values = a.names()
		case "state":
			values = states
		case "reason":
			values = reasons()
		case "tls", "counted", "served":
			values = []string{"true", "false"}
		}
		for _, v := range values {
			if name != "listener" {
				v = dashed(v)
			}
			words = append(words, name+"="+v)
		}
		return words
	}
}

// infos describes all listeners, sorted by name.
func (a *admin) infos() []ranch.ListenerInfo {
	var infos []ranch.ListenerInfo
	for _, l := range a.listeners() {
		infos = append(infos, l.Info())
	}
	return infos
}
