package admin

import (
	"context"
	"errors"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"goranch/conns"
	"goranch/internal/descriptors"
	"goranch/protocol/shell"
	"goranch/ranch"
)

func (a *admin) statusCommands() []shell.Command {
	return []shell.Command{
		{Name: "status", Role: shell.Viewer, Help: "Show a summary of the server's state.", Run: a.status},
		{Name: "stats", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: 1, Complete: a.completeListener, Run: a.stats,
			Help: "Show counters since the start, of all listeners or of one, and why connections ended."},
		{Name: "config", Role: shell.Viewer, Help: "Show the configuration of the server.", Run: a.config},
		{Name: "version", Role: shell.Guest, Help: "Show the version of the server and of its build.", Run: a.version},
	}
}

// listenersStatus summarizes the states of the listeners.
func listenersStatus(running, draining, all int) string {
	switch {
	case all == 0:
		return "no listeners"
	case draining > 0:
		return "draining"
	case running == 0:
		return "not accepting"
	case running < all:
		return "partly accepting"
	}
	return "running"
}

func (a *admin) status(_ context.Context, c *shell.Call) error {
	infos := a.infos()
	running, draining, active, connections := 0, 0, 0, 0
	for _, i := range infos {
		switch {
		case i.Status == ranch.Running:
			running++
		case i.Drain != nil:
			draining++
		}
		active += i.ActiveConnections
		connections += i.AllConnections
	}
	f := shell.Fields{
		{Key: "status", Title: "Status", Value: listenersStatus(running, draining, len(infos))},
		{Key: "version", Title: "Version", Value: a.Version},
		{Key: "started", Title: "Started", Value: a.Started},
		{Key: "uptime", Title: "Uptime", Value: since(a.Started)},
		{Key: "pid", Title: "PID", Value: os.Getpid()},
		{Key: "listeners", Title: "Listeners", Value: len(infos)},
		{Key: "running", Title: "Running listeners", Value: running},
		{Key: "connections", Title: "All connections", Value: connections},
		{Key: "active", Title: "Active connections", Value: active},
	}
	if _, sessions := a.current(); len(sessions) > 0 {
		n := 0
		for _, s := range sessions {
			st := s.Stats()
			n += st.Attached + st.Detached
		}
		f = append(f, shell.Field{Key: "sessions", Title: "Sessions", Value: n})
	}
	if a.Status != nil {
		f = append(f, a.Status()...)
	}
	f = append(f, shell.Field{Key: "goroutines", Title: "Goroutines", Value: runtime.NumGoroutine()},
		shell.Field{Key: "memory", Title: "Memory", Value: residentMemory()})
	if open, limit, err := descriptors.Count(); err == nil {
		f = append(f, shell.Field{Key: "descriptors", Title: "Open descriptors", Value: open},
			shell.Field{Key: "descriptor_limit", Title: "Descriptor limit", Value: limit})
	}
	c.Return(f)
	return nil
}

func (a *admin) stats(_ context.Context, c *shell.Call) error {
	infos := a.infos()
	if len(c.Args) == 1 {
		l, err := a.listener(c.Args[0])
		if err != nil {
			return err
		}
		infos = []ranch.ListenerInfo{l.Info()}
	}
	var sum ranch.ListenerInfo
	ended := map[conns.Reason]uint64{}
	for _, i := range infos {
		sum.Accepted += i.Accepted
		sum.Terminated += i.Terminated
		sum.Served += i.Served
		sum.HandshakeFailed += i.HandshakeFailed
		sum.Refused += i.Refused
		sum.AcceptErrors += i.AcceptErrors
		sum.AllConnections += i.AllConnections
		sum.PeakConnections += i.PeakConnections
		for r, n := range i.Reasons {
			ended[r] += n
		}
	}
	f := shell.Fields{
		{Key: "accepted", Title: "Accepted", Value: sum.Accepted},
		{Key: "connections", Title: "Live", Value: sum.AllConnections},
		{Key: "peak", Title: "Sum of peaks", Value: sum.PeakConnections},
		{Key: "terminated", Title: "Ended", Value: sum.Terminated},
		{Key: "served", Title: "  served", Value: sum.Served},
		{Key: "handshake_failed", Title: "  handshake failed", Value: sum.HandshakeFailed},
		{Key: "refused", Title: "  refused", Value: sum.Refused},
		{Key: "accept_errors", Title: "Accept errors", Value: sum.AcceptErrors},
	}
	for _, r := range slices.Sorted(maps.Keys(ended)) {
		key := "ended_" + strings.ReplaceAll(hyphenated(r.Error()), "-", "_")
		f = append(f, shell.Field{Key: key, Title: "Ended: " + r.Error(), Value: ended[r]})
	}
	c.Return(f)
	return nil
}

func (a *admin) config(_ context.Context, c *shell.Call) error {
	if a.Config == nil {
		return errors.New("the server does not provide its configuration")
	}
	c.Return(a.Config())
	return nil
}

func (a *admin) version(_ context.Context, c *shell.Call) error {
	if c.User.Role < shell.Viewer {
		c.Return(a.Version)
		return nil
	}
	f := shell.Fields{
		{Key: "version", Title: "Version", Value: a.Version},
		{Key: "go", Title: "Go", Value: runtime.Version()},
		{Key: "platform", Title: "Platform", Value: runtime.GOOS + "/" + runtime.GOARCH},
		{Key: "processors", Title: "Processors", Value: runtime.GOMAXPROCS(0)},
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				f = append(f, shell.Field{Key: "revision", Title: "Revision", Value: s.Value})
			}
		}
	}
	c.Return(f)
	return nil
}
