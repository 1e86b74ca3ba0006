package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"goranch/conns"
	"goranch/protocol/shell"
)

// Limits of the tables of connections. The shell queues an answer for its client as a whole.
const (
	defaultRows = 100
	maxRows     = 1000
	maxOffset   = 100_000_000
)

const (
	filterHelp = "\n\nA filter is a list of terms that must all match: listener=NAME peer=10.0.0.0/8 transport=NAME\n" +
		"protocol=NAME user=NAME client=ID label.KEY=VALUE id=N age>5m read>1MiB written>1MiB bytes>1MiB"
	liveFilterHelp   = filterHelp + "\nidle>30s state=serving tls=true sni=NAME alpn=NAME counted=true. Operators are = and !=, or < <= > >=."
	closedFilterHelp = filterHelp + "\nreason=killed served=true ended<5m; age is how long a connection lived. Operators are = and !=,\nor < <= > >=."
)

// pageUsage and pageFlags are those of connections and closed.
const pageUsage = "[<filter> ...] [--sort KEY] [--reverse] [--limit N] [--offset N]"

func pageFlags(sortKeys ...string) []shell.Flag {
	return []shell.Flag{
		{Name: "sort", Value: "KEY", Help: "The sort key.", Choices: sortKeys},
		{Name: "reverse", Help: "Reverse the order."},
		{Name: "limit", Value: "N", Help: fmt.Sprintf("Show at most N connections, up to %d. Default: %d.", maxRows, defaultRows)},
		{Name: "offset", Value: "N", Help: "Skip the first N connections."},
		{Name: "filter", Value: "FILTER", Help: "Show connections that match the filter, like the arguments."},
		{Name: "listener", Value: "NAME", Help: "Show connections of the listener, like listener=NAME."},
	}
}

func (a *admin) connectionCommands() []shell.Command {
	return []shell.Command{
		{Name: "connections", Usage: pageUsage, Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "List live connections, all or those that match a filter.\n\n" +
				"The default order is by age, the oldest first. With --sort the largest value comes first,\n" +
				"except for peer." + liveFilterHelp,
			Flags: pageFlags("age", "idle", "read", "written", "bytes", "peer"),
			Run:   a.connections, Complete: a.completeFilter(live)},
		{Name: "connection", Usage: "<id>", Role: shell.Viewer, MinArgs: 1, MaxArgs: 1,
			Help: "Show the details of a connection.", Run: a.showConnection, Complete: a.completeID},
	}
}

// row is a connection with the name of its listener.
type row struct {
	listener string
	conns.Info
}

var connectionColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"},
	{Key: "peer", Title: "PEER"}, {Key: "state", Title: "STATE"},
	{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration},
	{Key: "idle", Title: "IDLE", Right: true, Kind: shell.KindDuration},
	{Key: "read", Title: "READ", Right: true, Kind: shell.KindBytes},
	{Key: "written", Title: "WRITTEN", Right: true, Kind: shell.KindBytes},
	{Key: "transport", Title: "TRANSPORT", Wide: true}, {Key: "tls", Title: "TLS", Wide: true},
	{Key: "protocol", Title: "PROTOCOL", Wide: true}, {Key: "counted", Title: "COUNTED", Wide: true},
	{Key: "labels", Title: "LABELS", Wide: true},
}

func (r *row) cells() []any {
	tls := ""
	if r.TLS != nil {
		tls = r.TLS.Version
	}
	return []any{
		r.ID, r.listener, addrString(r.RemoteAddr), r.State(), since(r.Since), r.Idle,
		shell.Bytes(r.Stats.BytesRead), shell.Bytes(r.Stats.BytesWritten),
		r.Transport, tls, protocolName(r.Protocol), r.Counted, labels(r.Labels),
	}
}

// pageOf returns the flags --offset and --limit.
func pageOf(c *shell.Call) (offset, limit int, err error) {
	offset, err = intFlag(c, "offset", 0, 0, maxOffset)
	if err == nil {
		limit, err = intFlag(c, "limit", defaultRows, 1, maxRows)
	}
	return offset, limit, err
}

func (a *admin) connections(_ context.Context, c *shell.Call) error {
	f, err := a.parseFilter(c, live)
	if err != nil {
		return err
	}
	offset, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	key := cmp.Or(conns.SortKey(c.Flags["sort"]), conns.ByAge)
	// The largest value comes first; package conns sorts ages in that order already.
	q := conns.Query{Sort: key, Reverse: key != conns.ByAge && key != conns.ByPeer}
	if c.Flags["reverse"] != "" {
		q.Reverse = !q.Reverse
	}
	rows, total := a.find(q, f, offset, limit)
	t := shell.Table{Columns: connectionColumns, Rows: make([][]any, len(rows)), Total: total}
	for i := range rows {
		t.Rows[i] = rows[i].cells()
	}
	c.Return(t)
	return nil
}

// find returns a page of the matching connections of all listeners, and their number.
func (a *admin) find(q conns.Query, f filter, offset, limit int) (rows []row, total int) {
	q.Limit = offset + limit
	for _, l := range a.listeners() {
		q.Match = f.matcher(l.Ref())
		page, n := l.Select(q)
		total += n
		for _, i := range page {
			rows = append(rows, row{l.Ref(), i})
		}
	}
	slices.SortStableFunc(rows, func(x, y row) int {
		order := cmp.Or(compareBy(q.Sort, &x.Info, &y.Info), cmp.Compare(x.ID, y.ID))
		if q.Reverse {
			return -order
		}
		return order
	})
	rows = rows[min(offset, len(rows)):]
	return rows[:min(limit, len(rows))], total
}

// compareBy compares as package conns does, for connections of several listeners.
func compareBy(k conns.SortKey, x, y *conns.Info) int {
	switch k {
	case conns.ByIdle:
		return cmp.Compare(x.Idle, y.Idle)
	case conns.ByRead:
		return cmp.Compare(x.Stats.BytesRead, y.Stats.BytesRead)
	case conns.ByWritten:
		return cmp.Compare(x.Stats.BytesWritten, y.Stats.BytesWritten)
	case conns.ByBytes:
		return cmp.Compare(totalBytes(x), totalBytes(y))
	case conns.ByPeer:
		return ipOf(x.RemoteAddr).Compare(ipOf(y.RemoteAddr))
	}
	return 0 // ids are in the order of age
}

func (a *admin) showConnection(_ context.Context, c *shell.Call) error {
	id, err := parseID(c.Args[0])
	if err != nil {
		return err
	}
	l, i, err := a.connection(id)
	if err != nil {
		return err
	}
	f := shell.Fields{
		{Key: "id", Title: "Connection", Value: i.ID},
		{Key: "listener", Title: "Listener", Value: l.Ref()},
		{Key: "peer", Title: "Peer", Value: addrString(i.RemoteAddr)},
		{Key: "local", Title: "Local address", Value: addrString(i.LocalAddr)},
		{Key: "transport", Title: "Transport", Value: i.Transport},
		{Key: "protocol", Title: "Protocol", Value: protocolName(i.Protocol)},
		{Key: "labels", Title: "Labels", Value: labels(i.Labels)},
		{Key: "state", Title: "State", Value: i.State()},
		{Key: "counted", Title: "Counted by the cap", Value: i.Counted},
		{Key: "since", Title: "Since", Value: i.Since},
		{Key: "age", Title: "Age", Value: since(i.Since)},
		{Key: "idle", Title: "Idle", Value: i.Idle},
		{Key: "read", Title: "Read", Value: shell.Bytes(i.Stats.BytesRead)},
		{Key: "reads", Title: "Reads", Value: i.Stats.Reads},
		{Key: "written", Title: "Written", Value: shell.Bytes(i.Stats.BytesWritten)},
		{Key: "writes", Title: "Writes", Value: i.Stats.Writes},
		{Key: "tls", Title: "TLS", Value: i.TLS != nil},
	}
	if t := i.TLS; t != nil {
		f = append(f, shell.Fields{
			{Key: "tls_version", Title: "TLS version", Value: t.Version},
			{Key: "tls_cipher", Title: "TLS cipher", Value: t.Cipher},
			{Key: "sni", Title: "Server name (SNI)", Value: t.ServerName},
			{Key: "alpn", Title: "ALPN", Value: t.ALPN},
			{Key: "client", Title: "Client certificate", Value: t.Client},
			{Key: "resumed", Title: "TLS resumed", Value: t.Resumed},
		}...)
	}
	c.Return(f)
	return nil
}
