package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
)

func (a *admin) closedCommands() []shell.Command {
	return []shell.Command{
		{Name: "closed", Usage: pageUsage, Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "List recently closed connections and why they ended.\n\n" +
				"The most recently closed comes first. With --sort the largest value comes first, except for peer.\n" +
				"Each listener keeps its last connections, 100 by default." + closedFilterHelp,
			Flags: pageFlags("ended", "age", "read", "written", "bytes", "peer"),
			Run:   a.closed, Complete: a.completeFilter(closed)},
	}
}

// closedRow is a closed connection with the name of its listener.
type closedRow struct {
	listener string
	conns.Info
}

var closedColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
	{Key: "ended", Title: "ENDED", Kind: shell.KindTime},
	{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration}, {Key: "reason", Title: "REASON"},
	{Key: "read", Title: "READ", Right: true, Kind: shell.KindBytes},
	{Key: "written", Title: "WRITTEN", Right: true, Kind: shell.KindBytes},
	{Key: "served", Title: "SERVED", Wide: true}, {Key: "labels", Title: "LABELS", Wide: true},
	{Key: "error", Title: "ERROR", Wide: true},
}

func (r *closedRow) cells() []any {
	message := ""
	if r.Err != nil {
		message = r.Err.Error()
	}
	return []any{
		r.ID, r.listener, addrString(r.RemoteAddr), r.Closed, r.Closed.Sub(r.Since).Round(time.Millisecond), r.Reason.Error(),
		shell.Bytes(r.Stats.BytesRead), shell.Bytes(r.Stats.BytesWritten), r.Served, labels(r.Labels), message,
	}
}

func (a *admin) closed(_ context.Context, c *shell.Call) error {
	f, err := a.parseFilter(c, closed)
	if err != nil {
		return err
	}
	offset, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	var rows []closedRow
	for _, l := range a.listeners() {
		for _, e := range l.RecentlyClosed() {
			if f.matchConn(l.Ref(), &e) {
				rows = append(rows, closedRow{l.Ref(), e})
			}
		}
	}
	key := cmp.Or(c.Flags["sort"], "ended")
	slices.SortFunc(rows, func(x, y closedRow) int {
		order := cmp.Or(compareClosed(key, &x.Info, &y.Info), cmp.Compare(x.ID, y.ID))
		if (c.Flags["reverse"] != "") == (key == "peer") { // the largest value comes first, except for peer
			return -order
		}
		return order
	})
	t := shell.Table{Columns: closedColumns, Rows: [][]any{}, Total: len(rows)}
	rows = rows[min(offset, len(rows)):]
	for _, r := range rows[:min(limit, len(rows))] {
		t.Rows = append(t.Rows, r.cells())
	}
	c.Return(t)
	return nil
}

func compareClosed(key string, x, y *conns.Info) int {
	switch key {
	case "age":
		return cmp.Compare(x.Closed.Sub(x.Since), y.Closed.Sub(y.Since))
	case "ended":
		return x.Closed.Compare(y.Closed)
	}
	return compareBy(conns.SortKey(key), x, y)
}
