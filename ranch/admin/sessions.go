package admin

import (
	"context"
	"slices"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/shell"
)

func (a *admin) sessionCommands() []shell.Command {
	return []shell.Command{
		{Name: "sessions", Usage: "[--list] [--limit N]", Role: shell.Viewer, Run: a.sessions,
			Help: "Show the numbers of sessions, or list them.\n\n" +
				"Session ids are secret: the list shows a hash of each id.",
			Flags: []shell.Flag{
				{Name: "list", Help: "List the sessions, the most recently changed first."},
				{Name: "limit", Value: "N", Help: "Show at most N sessions, up to 1000. Default: 100."},
			}},
	}
}

var sessionColumns = []shell.Column{
	{Key: "name", Title: "SERVICE"},
	{Key: "attached", Title: "ATTACHED", Right: true}, {Key: "detached", Title: "DETACHED", Right: true},
	{Key: "created", Title: "CREATED", Right: true}, {Key: "resumed", Title: "RESUMED", Right: true},
	{Key: "taken_over", Title: "TAKEN OVER", Right: true, Wide: true},
	{Key: "expired", Title: "EXPIRED", Right: true}, {Key: "ended", Title: "ENDED", Right: true},
	{Key: "refused", Title: "REFUSED", Right: true},
	{Key: "output_dropped", Title: "DROPPED", Right: true, Wide: true, Kind: shell.KindBytes},
	{Key: "store_errors", Title: "STORE ERRORS", Right: true, Wide: true},
}

func (a *admin) sessions(_ context.Context, c *shell.Call) error {
	limit, err := intFlag(c, "limit", defaultRows, 1, maxRows)
	if err != nil {
		return err
	}
	if c.Flags["list"] != "" {
		c.Return(a.sessionList(limit))
		return nil
	}
	t := shell.Table{Columns: sessionColumns}
	_, sessions := a.current()
	for _, s := range sessions {
		st := s.Stats()
		t.Rows = append(t.Rows, []any{
			s.Name, st.Attached, st.Detached, st.Created, st.Resumed, st.TakenOver, st.Expired, st.Ended, st.Refused,
			shell.Bytes(st.OutputDropped), st.StoreErrors,
		})
	}
	c.Return(t)
	return nil
}

var sessionListColumns = []shell.Column{
	{Key: "session", Title: "SESSION"}, {Key: "name", Title: "SERVICE"},
	{Key: "state", Title: "STATE"}, {Key: "remote", Title: "REMOTE"},
	{Key: "created", Title: "CREATED", Kind: shell.KindTime},
	{Key: "since", Title: "SINCE", Kind: shell.KindTime}, // of the state
	{Key: "expires", Title: "EXPIRES", Kind: shell.KindTime, Wide: true},
	{Key: "generation", Title: "GENERATION", Right: true, Wide: true},
	{Key: "buffered", Title: "BUFFERED", Right: true, Kind: shell.KindBytes, Wide: true},
}

func (a *admin) sessionList(limit int) shell.Table {
	t := shell.Table{Columns: sessionListColumns}
	_, sessions := a.current()
	for _, s := range sessions {
		for _, i := range s.List() {
			state := "detached"
			if i.Attached {
				state = "attached"
			}
			t.Rows = append(t.Rows, []any{
				session.PublicID(i.ID), s.Name, state, addrString(i.Remote), i.Created, i.Since, i.Expires, i.Generation,
				shell.Bytes(max(i.Buffered, 0)),
			})
		}
	}
	slices.SortStableFunc(t.Rows, func(x, y []any) int { return y[5].(time.Time).Compare(x[5].(time.Time)) })
	t.Total = len(t.Rows)
	t.Rows = t.Rows[:min(limit, len(t.Rows))]
	return t
}
