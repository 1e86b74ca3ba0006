package admin

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"goranch/conns"
	"goranch/internal/remoteip"
	"goranch/protocol/shell"
)

const defaultSources = 20

func (a *admin) sourceCommands() []shell.Command {
	return []shell.Command{
		{Name: "sources", Usage: "[<filter> ...] [--sort KEY] [--n N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "List the source addresses with the most live connections or traffic.\n\n" +
				"IPv6 addresses count by their /64. Unix sockets and in-memory connections, which have no address,\n" +
				"are one source, local. Traffic is that of the connections that are live now." + liveFilterHelp,
			Flags: []shell.Flag{
				{Name: "sort", Value: "KEY", Help: "The sort key, the largest value first. Default: connections.",
					Choices: []string{"connections", "read", "written", "bytes"}},
				{Name: "n", Value: "N", Help: "Show at most N sources, up to 1000. Default: 20."},
				{Name: "filter", Value: "FILTER", Help: "Count connections that match the filter, like the arguments."},
			},
			Run: a.sources, Complete: a.completeFilter(live)},
	}
}

// source is the sum of the connections of a source address. Its zero addr is local.
type source struct {
	addr          netip.Addr
	connections   int
	read, written uint64
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
	n, err := intFlag(c, "n", defaultSources, 1, maxRows)
	if err != nil {
		return err
	}
	all := a.countSources(f)
	key := c.Flags["sort"]
	slices.SortFunc(all, func(x, y source) int {
		return cmp.Or(cmp.Compare(y.by(key), x.by(key)), cmp.Compare(y.connections, x.connections), x.addr.Compare(y.addr))
	})
	t := shell.Table{Columns: sourceColumns, Rows: [][]any{}, Total: len(all)}
	for _, s := range all[:min(n, len(all))] {
		t.Rows = append(t.Rows, []any{s.String(), s.connections, shell.Bytes(s.read), shell.Bytes(s.written)})
	}
	c.Return(t)
	return nil
}

// countSources sums the matching connections of all listeners by source address.
func (a *admin) countSources(f filter) []source {
	index := map[netip.Addr]int{}
	var all []source
	for _, l := range a.listeners() {
		match := f.matcher(l.Ref())
		l.Select(conns.Query{Limit: 1, Match: func(i *conns.Info) bool {
			if match != nil && !match(i) {
				return false
			}
			addr := remoteip.Key(i.RemoteAddr)
			n, known := index[addr]
			if !known {
				n = len(all)
				index[addr], all = n, append(all, source{addr: addr})
			}
			s := &all[n]
			s.connections++
			s.read += i.Stats.BytesRead
			s.written += i.Stats.BytesWritten
			return false // the result of Select is not used
		}})
	}
	return all
}

func (s *source) by(key string) uint64 {
	switch key {
	case "read":
		return s.read
	case "written":
		return s.written
	case "bytes":
		return s.read + s.written
	}
	return uint64(s.connections)
}

// String returns the address, or for IPv6 the network, in the form that the filter peer= accepts.
func (s *source) String() string {
	switch {
	case !s.addr.IsValid():
		return "local"
	case s.addr.Is6():
		return netip.PrefixFrom(s.addr, 64).String()
	}
	return s.addr.String()
}
