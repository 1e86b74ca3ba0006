package main

import (
	"context"
	"maps"
	"slices"

	"goranch/protocol/shell"
)

// upstreamsCommand returns the command upstreams, which shows the upstreams of the relays.
func (d *daemon) upstreamsCommand() shell.Command {
	return shell.Command{
		Name: "upstreams", Role: shell.Viewer,
		Help: "Show the upstreams of the relays.\n\n" +
			"A relay has the name of its service, by default that of the listener; that of a route is followed by its first server name and its " +
			"ALPN: * stands for all server names, - for none. " +
			"Their states: up; full, it has its maximum of connections; out, it has failed too often and is not used for a time; " +
			"down, its health checks fail; removed, it is not configured any more and has connections left. FAILED counts failed attempts " +
			"to connect and connections that an upstream has broken; the metric goranch_upstream_failures_total has them by reason.",
		Run: func(_ context.Context, c *shell.Call) error {
			c.Return(d.upstreams())
			return nil
		},
	}
}

func (d *daemon) upstreams() shell.Table {
	t := shell.Table{Columns: []shell.Column{
		{Key: "relay", Title: "RELAY"}, {Key: "upstream", Title: "UPSTREAM"}, {Key: "state", Title: "STATE"},
		{Key: "connections", Title: "CONNECTIONS", Right: true}, {Key: "max", Title: "MAX", Right: true, Wide: true},
		{Key: "weight", Title: "WEIGHT", Right: true, Wide: true},
		{Key: "total", Title: "TOTAL", Right: true}, {Key: "failed", Title: "FAILED", Right: true},
		{Key: "sent", Title: "SENT", Right: true, Kind: shell.KindBytes}, {Key: "received", Title: "RECEIVED", Right: true, Kind: shell.KindBytes},
		{Key: "checked", Title: "CHECKED", Kind: shell.KindTime, Wide: true},
		{Key: "error", Title: "LAST ERROR", Wide: true}, {Key: "error_at", Title: "ERROR AT", Kind: shell.KindTime, Wide: true},
	}}
	relays := d.relays()
	for _, name := range slices.Sorted(maps.Keys(relays)) {
		for _, u := range relays[name].Upstreams {
			failed := uint64(0)
			for _, n := range u.Failed {
				failed += n
			}
			t.Rows = append(t.Rows, []any{
				name, u.Addr, string(u.State), u.Live, u.MaxConnections, u.Weight, u.Total, failed,
				shell.Bytes(u.BytesSent), shell.Bytes(u.BytesReceived), u.CheckedAt, u.LastError, u.LastErrorAt,
			})
		}
	}
	return t
}
