package admin

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/nearest"
	"goranch/protocol/shell"
	"goranch/ranch"
)

// all is the argument that selects every listener that is not protected.
const all = "all"

// listener returns the listener of that name. Its error suggests a similar name.
func (a *admin) listener(name string) (*ranch.Listener, error) {
	l, err := a.server.Listener(name)
	if err == nil {
		return l, nil
	}
	names := a.names()
	e := &shell.Error{Message: fmt.Sprintf("no listener %q; listeners: %s", name, strings.Join(names, ", "))}
	if len(names) == 0 {
		e.Message = fmt.Sprintf("no listener %q; the server has none", name)
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

// infos describes all listeners, sorted by name.
func (a *admin) infos() []ranch.ListenerInfo {
	var infos []ranch.ListenerInfo
	for _, l := range a.listeners() {
		infos = append(infos, l.Info())
	}
	return infos
}

// selected returns the listeners that an argument selects: one by name, or with "all" those that
// are not protected.
func (a *admin) selected(c *shell.Call, name string) ([]*ranch.Listener, error) {
	if name != all {
		l, err := a.listener(name)
		if err != nil {
			return nil, err
		}
		return []*ranch.Listener{l}, nil
	}
	found := a.unprotected(c)
	if len(found) == 0 {
		return nil, errors.New(`"all" selects no listener: the only listeners are those of the shell, which must be named`)
	}
	return found, nil
}

// unprotected returns the listeners that are neither protected nor that of the operator's
// connection.
func (a *admin) unprotected(c *shell.Call) []*ranch.Listener {
	protected, _ := a.current()
	return slices.DeleteFunc(a.listeners(), func(l *ranch.Listener) bool {
		return slices.Contains(protected, l.Ref()) || isOwn(c, l)
	})
}

// current returns the protected listeners and the sessions.
func (a *admin) current() (protected []string, sessions []Sessions) {
	if a.Current == nil {
		return a.Protected, a.Sessions
	}
	protected, sessions = a.Current()
	return slices.Concat(a.Protected, protected), slices.Concat(a.Sessions, sessions)
}

// isOwn reports whether l is the listener of the operator's connection.
func isOwn(c *shell.Call, l *ranch.Listener) bool {
	return has(l, c.Conn().ID())
}

// has reports whether l has a live connection with that ID.
func has(l *ranch.Listener, id uint64) bool {
	if id == 0 { // which would select all connections
		return false
	}
	_, n := l.Select(conns.Query{ID: id})
	return n > 0
}

// connection returns a live connection and its listener. Its error says why and when the connection
// ended, if its listener still remembers it.
func (a *admin) connection(id uint64) (*ranch.Listener, conns.Info, error) {
	listeners := a.listeners()
	for _, l := range listeners {
		if found, _ := l.Select(conns.Query{ID: id}); id != 0 && len(found) > 0 {
			return l, found[0], nil
		}
	}
	for _, l := range listeners {
		for _, e := range l.RecentlyClosed() {
			if e.ID == id {
				return nil, conns.Info{}, fmt.Errorf("connection %d of %s ended %v ago: %v", id, l.Ref(), time.Since(e.Closed).Round(time.Second), e.Reason)
			}
		}
	}
	return nil, conns.Info{}, fmt.Errorf("no connection %d", id)
}

func parseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, shell.Usage("connection %q: allowed are the ids that the command connections shows", s)
	}
	return id, nil
}
