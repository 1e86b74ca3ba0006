package admin

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"goranch/conns"
	"goranch/protocol/shell"
)

const defaultSources = 20

func (a *admin) sourceCommands() []shell.Command {
	return []shell.Command{
		{Name: "sources", Usage: "[<filter> ...] [--sort KEY] [--limit N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "List the source addresses with the most live connections or the most traffic.\n\n" +
				"IPv6 addresses are grouped by /64. Unix sockets and in-memory connections have no address and\n" +
				"are shown as local. Traffic is that of live connections only." + liveFilterHelp,
			Flags: []shell.Flag{
				{Name: "sort", Value: "KEY", Help: "The sort key, the largest value first. Default: connections.",
					Choices: []string{"connections", "read", "written", "bytes"}},
				{Name: "limit", Value: "N", Help: "Show at most N sources, up to 1000. Default: 20."},
				{Name: "filter", Value: "FILTER", Help: "Count connections that match the filter, like the arguments."},
			},
			Run: a.sources, Complete: a.completeFilter(live)},
	}
}

var sourceColumns = []shell.Column{
	{Key: "source", Title: "SOURCE"}, {Key: "connections", Title: "CONNECTIONS", Right: true},
	{Key: "read", Title: "READ", Right: true, Kind: shell.KindBytes},
	{Key: "written", Title: "WRITTEN", Right: true, Kind: shell.KindBytes},
}

func (a *admin) sources(_ context.Context, c *shell.Call) error {
	f, err := a.parseFilter(c, live)
	if err != nil {
		return err
	}
	n, err := intFlag(c, "limit", defaultSources, 1, maxRows)
	if err != nil {
		return err
	}
	all := a.countSources(f)
	key := c.Flags["sort"]
	slices.SortFunc(all, func(x, y conns.Source) int {
		return cmp.Or(cmp.Compare(sourceKey(y, key), sourceKey(x, key)), cmp.Compare(y.Connections, x.Connections), x.Prefix.Addr().Compare(y.Prefix.Addr()))
	})
	t := shell.Table{Columns: sourceColumns, Rows: [][]any{}, Total: len(all)}
	for _, s := range all[:min(n, len(all))] {
		t.Rows = append(t.Rows, []any{sourceName(s), s.Connections, shell.Bytes(s.BytesRead), shell.Bytes(s.BytesWritten)})
	}
	c.Return(t)
	return nil
}

// countSources returns the sources of the matching connections of all listeners.
func (a *admin) countSources(f filter) []conns.Source {
	index := map[netip.Prefix]int{}
	var all []conns.Source
	for _, l := range a.listeners() {
		for _, s := range l.Sources(conns.Query{Match: f.matcher(l.Ref())}) {
			i, known := index[s.Prefix]
			if !known {
				index[s.Prefix], all = len(all), append(all, s)
				continue
			}
			all[i].Connections += s.Connections
			all[i].BytesRead += s.BytesRead
			all[i].BytesWritten += s.BytesWritten
		}
	}
	return all
}

func sourceKey(s conns.Source, key string) uint64 {
	switch key {
	case "read":
		return s.BytesRead
	case "written":
		return s.BytesWritten
	case "bytes":
		return s.BytesRead + s.BytesWritten
	}
	return uint64(s.Connections)
}

// sourceName returns the address, or for IPv6 the network, in the form that the filter peer=
// accepts.
func sourceName(s conns.Source) string {
	switch {
	case !s.Prefix.IsValid():
		return "local"
	case s.Prefix.IsSingleIP():
		return s.Prefix.Addr().String()
	}
	return s.Prefix.String()
}
