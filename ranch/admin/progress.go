package admin

import (
	"time"

	"goranch/protocol/shell"
	"goranch/ranch"
)

var drainColumns = []shell.Column{
	{Key: "listener", Title: "LISTENER"}, {Key: "status", Title: "STATUS"},
	{Key: "connections", Title: "TOTAL", Right: true}, {Key: "asked", Title: "ASKED", Right: true},
	{Key: "live", Title: "LIVE", Right: true}, {Key: "progress", Title: "PROGRESS", Kind: shell.KindShare},
	{Key: "left", Title: "LEFT", Right: true, Kind: shell.KindDuration, Wide: true}, // of the delay or the spread
}

// table shows the progress of the drain.
func (j *drainJob) table() shell.Table {
	t := shell.Table{Columns: drainColumns}
	for _, l := range j.listeners {
		t.Rows = append(t.Rows, drainRow(l.Info(), time.Now()))
	}
	return t
}

func drainRow(i ranch.ListenerInfo, now time.Time) []any {
	d := ranch.DrainInfo{}
	if i.Drain != nil {
		d = *i.Drain
	}
	total, share, left := i.AllConnections, 0.0, max(d.AcceptUntil.Sub(now), 0)
	if !d.AskUntil.IsZero() { // it accepts no more
		total, left = d.Connections, max(d.AskUntil.Sub(now), 0)
		if total > 0 {
			share = 1 - float64(i.AllConnections)/float64(total)
		}
	}
	if i.Status == ranch.Stopped {
		share, left = 1, 0
	}
	return []any{i.Ref, string(i.Status), total, d.Asked, i.AllConnections, shell.Share(share), left.Round(time.Second)}
}
