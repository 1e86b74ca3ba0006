package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/descriptors"
	"goranch/protocol/shell"
	"goranch/ranch"
)

func (a *admin) statusCommands() []shell.Command {
	return []shell.Command{
		{Name: "status", Role: shell.Viewer, Help: "Show the state of the server in short.", Run: a.status},
		{Name: "stats", Usage: "[<listener>]", Role: shell.Viewer, MaxArgs: 1, Complete: a.completeListener,
			Help: "Show what has happened since the start, to all listeners there are or to one, and why connections have ended.", Run: a.stats},
		{Name: "sessions", Usage: "[--list] [--limit N]", Role: shell.Viewer,
			Help: "Show how many sessions there are, or each of them.\n\nIds are secrets; what is shown in their place tells sessions apart.",
			Flags: []shell.Flag{{Name: "list", Help: "Show each session, the latest to change first."},
				{Name: "limit", Value: "N", Help: "Show N at most; 100 if not given, up to 1000."}}, Run: a.sessions},
		{Name: "config", Role: shell.Viewer, Help: "Show what the server was started with.", Run: a.config},
		{Name: "version", Role: shell.Guest, Help: "Show the version of the server, and what it was built with.", Run: a.version},
	}
}

func (a *admin) status(_ context.Context, c *shell.Call) error {
	infos := a.infos()
	running, active, most := 0, 0, 0
	for _, i := range infos {
		if i.Status == ranch.Running {
			running++
		}
		active += i.ActiveConnections
		most += i.AllConnections
	}
	state := "running"
	switch {
	case len(infos) == 0:
		state = "no listeners"
	case running == 0:
		state = "not accepting"
	case running < len(infos):
		state = "partly accepting"
	}
	f := shell.Fields{
		{Key: "status", Title: "Status", Value: state}, {Key: "version", Title: "Version", Value: a.Version},
		{Key: "started", Title: "Started", Value: a.Started}, {Key: "uptime", Title: "Uptime", Value: since(a.Started)},
		{Key: "pid", Title: "Process", Value: os.Getpid()},
		{Key: "listeners", Title: "Listeners", Value: len(infos)}, {Key: "running", Title: "Listeners running", Value: running},
		{Key: "connections", Title: "Connections", Value: most}, {Key: "active", Title: "Connections counted", Value: active},
	}
	if len(a.Sessions) > 0 {
		sessions := 0
		for _, s := range a.Sessions {
			st := s.Sessions.Stats()
			sessions += st.Attached + st.Detached
		}
		f = append(f, shell.Field{Key: "sessions", Title: "Sessions", Value: sessions})
	}
	f = append(f, shell.Field{Key: "goroutines", Title: "Goroutines", Value: runtime.NumGoroutine()},
		shell.Field{Key: "memory", Title: "Memory", Value: shell.Bytes(readMetric("/memory/classes/total:bytes") - readMetric("/memory/classes/heap/released:bytes"))})
	if open, limit, err := descriptors.Count(); err == nil {
		f = append(f, shell.Field{Key: "descriptors", Title: "Descriptors", Value: open},
			shell.Field{Key: "descriptor_limit", Title: "Descriptors allowed", Value: limit})
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
		{Key: "accepted", Title: "Accepted", Value: sum.Accepted}, {Key: "connections", Title: "Connections now", Value: sum.AllConnections},
		{Key: "peak", Title: "Peaks of listeners", Value: sum.PeakConnections},
		{Key: "terminated", Title: "Ended", Value: sum.Terminated}, {Key: "served", Title: "  served", Value: sum.Served},
		{Key: "handshake_failed", Title: "  before their protocol", Value: sum.HandshakeFailed}, {Key: "refused", Title: "  turned away", Value: sum.Refused},
		{Key: "accept_errors", Title: "Errors of accept", Value: sum.AcceptErrors},
	}
	for _, r := range slices.Sorted(maps.Keys(ended)) {
		key := "ended_" + strings.ReplaceAll(dashed(r.Error()), "-", "_")
		f = append(f, shell.Field{Key: key, Title: "Ended: " + r.Error(), Value: ended[r]})
	}
	c.Return(f)
	return nil
}

var sessionColumns = []shell.Column{
	{Key: "name", Title: "SESSIONS"}, {Key: "attached", Title: "ATTACHED", Right: true}, {Key: "detached", Title: "DETACHED", Right: true},
	{Key: "created", Title: "CREATED", Right: true}, {Key: "resumed", Title: "RESUMED", Right: true}, {Key: "taken_over", Title: "TAKEN OVER", Right: true, Wide: true},
	{Key: "expired", Title: "EXPIRED", Right: true}, {Key: "ended", Title: "ENDED", Right: true}, {Key: "refused", Title: "REFUSED", Right: true},
	{Key: "output_dropped", Title: "DROPPED", Right: true, Wide: true, Kind: shell.KindBytes}, {Key: "store_errors", Title: "STORE ERRORS", Right: true, Wide: true},
}

func (a *admin) sessions(_ context.Context, c *shell.Call) error {
	limit, err := whole(c, "limit", defaultRows, 1, maxRows)
	if err != nil {
		return err
	}
	if c.Flags["list"] != "" {
		c.Return(a.sessionList(limit))
		return nil
	}
	t := shell.Table{Columns: sessionColumns}
	for _, s := range a.Sessions {
		st := s.Sessions.Stats()
		t.Rows = append(t.Rows, []any{s.Name, st.Attached, st.Detached, st.Created, st.Resumed, st.TakenOver, st.Expired, st.Ended, st.Refused,
			shell.Bytes(st.OutputDropped), st.StoreErrors})
	}
	c.Return(t)
	return nil
}

func (a *admin) sessionList(limit int) shell.Table {
	t := shell.Table{Columns: []shell.Column{
		{Key: "session", Title: "SESSION"}, {Key: "name", Title: "OF"}, {Key: "state", Title: "STATE"}, {Key: "remote", Title: "REMOTE"},
		{Key: "created", Title: "CREATED", Kind: shell.KindTime}, {Key: "since", Title: "SINCE", Kind: shell.KindTime},
		{Key: "expires", Title: "EXPIRES", Kind: shell.KindTime, Wide: true},
		{Key: "generation", Title: "ATTACHED TIMES", Right: true, Wide: true}, {Key: "waiting", Title: "WAITING", Right: true, Kind: shell.KindBytes, Wide: true},
	}}
	for _, src := range a.Sessions {
		for _, i := range src.Sessions.List() {
			state, id := "detached", sha256.Sum256([]byte(i.ID))
			if i.Attached {
				state = "attached"
			}
			t.Rows = append(t.Rows, []any{hex.EncodeToString(id[:4]), src.Name, state, addrString(i.Remote), i.Created, i.Since, i.Expires, i.Generation,
				shell.Bytes(max(i.Buffered, 0))})
		}
	}
	slices.SortStableFunc(t.Rows, func(x, y []any) int { return y[5].(time.Time).Compare(x[5].(time.Time)) })
	t.Total = len(t.Rows)
	t.Rows = t.Rows[:min(limit, len(t.Rows))]
	return t
}

func (a *admin) config(_ context.Context, c *shell.Call) error {
	if a.Config == nil {
		return errors.New("this server does not tell what it was started with")
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
		{Key: "version", Title: "Version", Value: a.Version}, {Key: "go", Title: "Go", Value: runtime.Version()},
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
