package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
)

// Limits of the tables of connections. An answer waits in the queue of the shell's connection as a whole.
const (
	defaultRows = 100
	maxRows     = 1000
	maxOffset   = 100_000_000
)

const filterHelp = "\n\nA filter is terms that must all hold: listener=NAME peer=10.0.0.0/8 transport=NAME protocol=NAME\n" +
	"id=N read>1MiB written>1MiB bytes>1MiB age>5m"

const liveHelp = filterHelp + " idle>30s state=serving tls=true sni=NAME\nalpn=NAME counted=true. Operators are = and !=, < <= > >=."

const closedHelp = filterHelp + " reason=killed served=true ended<5m;\nage is how long they lived. Operators are = and !=, < <= > >=."

func (a *admin) connectionCommands() []shell.Command {
	keys := []string{"age", "idle", "read", "written", "bytes", "peer"}
	page := []shell.Flag{
		{Name: "reverse", Help: "Turn the order round."},
		{Name: "limit", Value: "N", Help: fmt.Sprintf("Show N at most; %d if not given, up to %d.", defaultRows, maxRows)},
		{Name: "offset", Value: "N", Help: "Leave the first N out."},
		{Name: "filter", Value: "FILTER", Help: "Show those for which the filter holds; the same as the arguments."},
		{Name: "listener", Value: "NAME", Help: "Show those of that listener; the same as listener=NAME."},
	}
	return []shell.Command{
		{Name: "connections", Usage: "[<filter> ...] [--sort KEY] [--reverse] [--limit N] [--offset N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "Show the live connections, all or those for which a filter holds.\n\n" +
				"The oldest come first. Other orders begin with the most: those idle for the longest time, or the busiest." + liveHelp,
			Flags: append([]shell.Flag{{Name: "sort", Value: "KEY", Help: "The order.", Choices: keys}}, page...),
			Run:   a.connections, Complete: a.completeFilter(live)},
		{Name: "connection", Usage: "<id>", Role: shell.Viewer, MinArgs: 1, MaxArgs: 1,
			Help: "Show all that is known of one connection.", Run: a.one, Complete: a.completeID},
		{Name: "closed", Usage: "[<filter> ...] [--sort KEY] [--reverse] [--limit N] [--offset N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "Show the connections that have ended last, and why.\n\n" +
				"The latest come first. Each listener remembers some, 100 if it was not told otherwise." + closedHelp,
			Flags: append([]shell.Flag{{Name: "sort", Value: "KEY", Help: "The order.", Choices: []string{"ended", "age", "read", "written", "bytes", "peer"}}}, page...),
			Run:   a.closed, Complete: a.completeFilter(closed)},
		{Name: "kill", Usage: "<id> ... | <filter> ... --yes", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: maxTerms,
			Help: "Close connections at once, by their ids or all for which a filter holds.\n\n" +
				"A filter needs --yes; without, it says how many there are. The connection that asks is not closed by a filter." + liveHelp,
			Flags: []shell.Flag{{Name: "yes", Help: "Close all for which the filter holds."}},
			Run:   a.kill, Complete: a.completeFilter(live)},
	}
}

// row is a connection with the listener it belongs to.
type row struct {
	listener string
	conns.Info
}

var connectionColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"}, {Key: "state", Title: "STATE"},
	{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration}, {Key: "idle", Title: "IDLE", Right: true, Kind: shell.KindDuration},
	{Key: "read", Title: "READ", Right: true, Kind: shell.KindBytes}, {Key: "written", Title: "WRITTEN", Right: true, Kind: shell.KindBytes},
	{Key: "transport", Title: "TRANSPORT", Wide: true}, {Key: "tls", Title: "TLS", Wide: true},
	{Key: "protocol", Title: "PROTOCOL", Wide: true}, {Key: "counted", Title: "COUNTED", Wide: true},
}

func (r *row) cells() []any {
	tls := ""
	if r.TLS != nil {
		tls = r.TLS.Version
	}
	return []any{r.ID, r.listener, addrString(r.RemoteAddr), r.State(), since(r.Since), r.Idle,
		shell.Bytes(r.Stats.BytesRead), shell.Bytes(r.Stats.BytesWritten), r.Transport, tls, r.ProtocolName(), r.Counted}
}

// pageOf reads the flags of a page.
func pageOf(c *shell.Call) (offset, limit int, err error) {
	offset, err = whole(c, "offset", 0, 0, maxOffset)
	if err == nil {
		limit, err = whole(c, "limit", defaultRows, 1, maxRows)
	}
	return offset, limit, err
}

func (a *admin) connections(_ context.Context, c *shell.Call) error {
	f, err := a.filter(c, live)
	if err != nil {
		return err
	}
	offset, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	key := cmp.Or(conns.SortKey(c.Flags["sort"]), conns.ByAge)
	// The most come first; of ages, which package conns has by the beginning, it does so already.
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

// find returns a page of the connections of all listeners, and how many there are.
func (a *admin) find(q conns.Query, f Filter, offset, limit int) (rows []row, total int) {
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

// compareBy is the order of package conns, for the connections of several listeners.
func compareBy(k conns.SortKey, x, y *conns.Info) int {
	switch k {
	case conns.ByIdle:
		return cmp.Compare(x.Idle, y.Idle)
	case conns.ByRead:
		return cmp.Compare(x.Stats.BytesRead, y.Stats.BytesRead)
	case conns.ByWritten:
		return cmp.Compare(x.Stats.BytesWritten, y.Stats.BytesWritten)
	case conns.ByBytes:
		return cmp.Compare(carried(x), carried(y))
	case conns.ByPeer:
		return ipOf(x.RemoteAddr).Compare(ipOf(y.RemoteAddr))
	}
	return 0 // ids are in the order of age
}

func (a *admin) one(_ context.Context, c *shell.Call) error {
	id, err := parseID(c.Args[0])
	if err != nil {
		return err
	}
	l, i, err := a.connection(id)
	if err != nil {
		return err
	}
	f := shell.Fields{
		{Key: "id", Title: "Connection", Value: i.ID}, {Key: "listener", Title: "Listener", Value: l.Ref()},
		{Key: "peer", Title: "Peer", Value: addrString(i.RemoteAddr)}, {Key: "local", Title: "Local address", Value: addrString(i.LocalAddr)},
		{Key: "transport", Title: "Transport", Value: i.Transport}, {Key: "protocol", Title: "Protocol", Value: i.ProtocolName()},
		{Key: "state", Title: "State", Value: i.State()}, {Key: "counted", Title: "Counted by the cap", Value: i.Counted},
		{Key: "since", Title: "Since", Value: i.Since}, {Key: "age", Title: "Age", Value: since(i.Since)}, {Key: "idle", Title: "Idle", Value: i.Idle},
		{Key: "read", Title: "Read", Value: shell.Bytes(i.Stats.BytesRead)}, {Key: "reads", Title: "Reads", Value: i.Stats.Reads},
		{Key: "written", Title: "Written", Value: shell.Bytes(i.Stats.BytesWritten)}, {Key: "writes", Title: "Writes", Value: i.Stats.Writes},
		{Key: "tls", Title: "TLS", Value: i.TLS != nil},
	}
	if t := i.TLS; t != nil {
		f = append(f, shell.Fields{
			{Key: "tls_version", Title: "TLS version", Value: t.Version}, {Key: "tls_cipher", Title: "TLS cipher", Value: t.Cipher},
			{Key: "sni", Title: "Server name asked for", Value: t.ServerName}, {Key: "alpn", Title: "ALPN", Value: t.ALPN},
			{Key: "client", Title: "Client certificate", Value: t.Client}, {Key: "resumed", Title: "TLS resumed", Value: t.Resumed},
		}...)
	}
	c.Return(f)
	return nil
}

var closedColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
	{Key: "ended", Title: "ENDED", Kind: shell.KindTime}, {Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration},
	{Key: "reason", Title: "REASON"}, {Key: "read", Title: "READ", Right: true, Kind: shell.KindBytes},
	{Key: "written", Title: "WRITTEN", Right: true, Kind: shell.KindBytes}, {Key: "served", Title: "SERVED", Wide: true}, {Key: "error", Title: "ERROR", Wide: true},
}

func (a *admin) closed(_ context.Context, c *shell.Call) error {
	f, err := a.filter(c, closed)
	if err != nil {
		return err
	}
	offset, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	var found []row
	for _, l := range a.listeners() {
		for _, e := range l.RecentlyClosed() {
			if f.MatchClosed(l.Ref(), &e) {
				found = append(found, row{l.Ref(), e})
			}
		}
	}
	key := cmp.Or(c.Flags["sort"], "ended")
	slices.SortFunc(found, func(x, y row) int {
		order := cmp.Or(compareEnded(key, &x.Info, &y.Info), cmp.Compare(x.ID, y.ID))
		if (c.Flags["reverse"] != "") == (key == "peer") { // but for peers, the most come first
			return -order
		}
		return order
	})
	t := shell.Table{Columns: closedColumns, Rows: [][]any{}, Total: len(found)}
	found = found[min(offset, len(found)):]
	for _, e := range found[:min(limit, len(found))] {
		why := ""
		if e.Err != nil {
			why = e.Err.Error()
		}
		t.Rows = append(t.Rows, []any{e.ID, e.listener, addrString(e.RemoteAddr), e.Closed, e.Closed.Sub(e.Since).Round(time.Millisecond), e.Reason.Error(),
			shell.Bytes(e.Stats.BytesRead), shell.Bytes(e.Stats.BytesWritten), e.Served, why})
	}
	c.Return(t)
	return nil
}

func compareEnded(key string, x, y *conns.Info) int {
	switch key {
	case "age":
		return cmp.Compare(x.Closed.Sub(x.Since), y.Closed.Sub(y.Since))
	case "ended":
		return x.Closed.Compare(y.Closed)
	}
	return compareBy(conns.SortKey(key), x, y)
}

// kill closes connections by their ids or by a filter.
func (a *admin) kill(_ context.Context, c *shell.Call) error {
	if !slices.ContainsFunc(c.Args, func(s string) bool { return strings.ContainsAny(s, "=<>!") }) {
		return a.killIDs(c)
	}
	f, err := a.filter(c, live)
	if err != nil {
		return err
	}
	asking := c.Conn().ID()
	n := 0
	for _, l := range a.listeners() {
		chosen := func(i *conns.Info) bool { return i.ID != asking && f.Match(l.Ref(), i) }
		if c.Flags["yes"] != "" {
			n += l.KillMatching(chosen)
		} else {
			_, m := l.Select(conns.Query{Limit: 1, Match: chosen})
			n += m
		}
	}
	if c.Flags["yes"] == "" {
		return shell.Usage("%s would close %s: add --yes to do that", f, count(n, "connection"))
	}
	c.Return(shell.Fields{{Key: "killed", Title: "Killed", Value: n}})
	return nil
}

func (a *admin) killIDs(c *shell.Call) error {
	ids := make([]uint64, len(c.Args))
	for i, s := range c.Args {
		id, err := parseID(s)
		if err != nil {
			return shell.Usage("%q: allowed are ids of connections, such as 7, and filters, such as peer=10.0.0.0/8", s)
		}
		ids[i] = id
	}
	var faults []error
	killed := 0
	for _, id := range ids {
		l, _, err := a.connection(id)
		if err == nil && !l.Kill(id) { // it has just ended
			_, _, err = a.connection(id)
		}
		if err == nil {
			killed++
		} else {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		if killed > 0 {
			faults = append(faults, fmt.Errorf("%s closed", count(killed, "connection")))
		}
		return errors.Join(faults...)
	}
	c.Return(shell.Fields{{Key: "killed", Title: "Killed", Value: killed}})
	return nil
}

// count is a number of things in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// since is the time since t, to the millisecond.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
