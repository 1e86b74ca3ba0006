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
			"RELAY is the name of the service, by default that of the listener. For a route it is followed by\n" +
			"the first server name of the route and its ALPN: * is all server names, - is none.\n\n" +
			"  up       receives connections\n" +
			"  full     has its maximum number of connections\n" +
			"  out      has failed too often, and is not used for a time\n" +
			"  down     fails its health checks\n" +
			"  removed  is no longer configured, but still has connections\n\n" +
			"FAILED counts failed attempts to connect, and connections that the upstream has reset. The metric\n" +
			"goranch_upstream_failures_total counts them by reason.",
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
