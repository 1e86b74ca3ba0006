package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
)

func (a *admin) topCommands() []shell.Command {
	return []shell.Command{
		{Name: "top", Usage: "[<filter> ...] [--interval TIME] [--limit N] [--count N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "Show the connections with the most traffic, repeatedly until cancelled.\n\n" +
				"Each table shows the traffic since the previous one. Its first row is the sum of all matching\n" +
				"connections." + liveFilterHelp,
			Flags: []shell.Flag{
				{Name: "interval", Value: "TIME", Help: "Time between two tables, 100ms to 1h. Default: 1s."},
				{Name: "limit", Value: "N", Help: "Show at most N connections, up to 1000. Default: 10."},
				{Name: "count", Value: "N", Help: "Number of tables. Default: unlimited."},
				{Name: "filter", Value: "FILTER", Help: "Measure connections that match the filter, like the arguments."},
			},
			Run: a.top, Complete: a.completeFilter(live)},
	}
}

// meter measures the traffic of connections between two samples.
type meter struct {
	filter            filter
	current, previous map[uint64]uint64 // total bytes by connection id; swapped by each sample
	at                time.Time         // of the last sample
}

// usage is the traffic of a connection since the previous sample.
type usage struct {
	listener string
	conns.Info
	bytes uint64
}

var topColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
	{Key: "per_second", Title: "PER SECOND", Right: true, Kind: shell.KindBytes},
	{Key: "bytes", Title: "BYTES", Right: true, Kind: shell.KindBytes},
	{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration, Wide: true},
	{Key: "state", Title: "STATE", Wide: true},
}

func (a *admin) top(ctx context.Context, c *shell.Call) error {
	f, err := a.parseFilter(c, live)
	if err != nil {
		return err
	}
	interval, err := durationFlag(c, "interval", time.Second, 100*time.Millisecond, time.Hour)
	if err != nil {
		return err
	}
	limit, err := intFlag(c, "limit", 10, 1, maxRows)
	if err != nil {
		return err
	}
	frames, err := intFlag(c, "count", 0, 1, 1_000_000_000)
	if err != nil {
		return err
	}
	m := &meter{filter: f, current: map[uint64]uint64{}, previous: map[uint64]uint64{}}
	a.sample(m, 0)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := c.Frame(a.sample(m, limit)); err != nil {
			return err
		}
		if n == frames {
			return nil
		}
	}
}

// sample returns the connections with the most traffic since the previous sample, at most limit.
func (a *admin) sample(m *meter, limit int) shell.Table {
	now := time.Now()
	elapsed := now.Sub(m.at).Seconds()
	m.current, m.previous, m.at = m.previous, m.current, now
	clear(m.current)
	var busiest []usage
	var connections int
	var sum, sumTotal uint64
	for _, l := range a.listeners() {
		l.Select(conns.Query{Match: func(i *conns.Info) bool {
			if !m.filter.matchConn(l.Ref(), i) {
				return false
			}
			connections++
			total := totalBytes(i)
			bytes := total - m.previous[i.ID] // a connection that is new had 0
			m.current[i.ID] = total
			sum += bytes
			sumTotal += total
			if limit > 0 {
				busiest = addUsage(busiest, usage{l.Ref(), *i, bytes}, limit)
			}
			return false // the result of Select is not used
		}})
	}
	t := shell.Table{Columns: topColumns, Total: connections + 1}
	t.Rows = append(t.Rows, []any{nil, all, plural(connections, "connection"), perSecond(sum, elapsed), shell.Bytes(sumTotal), nil, nil})
	for _, u := range sortUsage(busiest, limit) {
		t.Rows = append(t.Rows, []any{
			u.ID, u.listener, addrString(u.RemoteAddr), perSecond(u.bytes, elapsed),
			shell.Bytes(totalBytes(&u.Info)), since(u.Since), u.State(),
		})
	}
	return t
}

func perSecond(bytes uint64, seconds float64) shell.Bytes {
	return shell.Bytes(float64(bytes) / seconds)
}

// addUsage appends u. It trims the list to the first limit entries from time to time, so that
// memory does not depend on the number of connections.
func addUsage(list []usage, u usage, limit int) []usage {
	if list = append(list, u); len(list) >= 2*limit+64 {
		list = sortUsage(list, limit)
	}
	return list
}

// sortUsage sorts by traffic, the most first, and returns the first limit entries.
func sortUsage(list []usage, limit int) []usage {
	slices.SortFunc(list, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(totalBytes(&b.Info), totalBytes(&a.Info)), cmp.Compare(a.ID, b.ID))
	})
	return list[:min(len(list), limit)]
}
