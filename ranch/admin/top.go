package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"goranch/conns"
	"goranch/protocol/shell"
)

func (a *admin) liveCommands() []shell.Command {
	return []shell.Command{
		{Name: "top", Usage: "[<filter> ...] [--interval TIME] [--limit N] [--count N]", Role: shell.Viewer, MaxArgs: maxTerms,
			Help: "Show the busiest connections, again and again, until cancelled.\n\n" +
				"Each table shows what was carried since the one before; its first row is the sum of all connections that\n" +
				"the filter chooses." + liveHelp,
			Flags: []shell.Flag{
				{Name: "interval", Value: "TIME", Help: "The time between two tables; 1s if not given, from 100ms to 1h."},
				{Name: "limit", Value: "N", Help: "Show N connections; 10 if not given, up to 1000."},
				{Name: "count", Value: "N", Help: "End after N tables."},
				{Name: "filter", Value: "FILTER", Help: "Look at those for which the filter holds; the same as the arguments."},
			}, Run: a.top, Complete: a.completeFilter(live)},
		{Name: "trace", Usage: "<id> | <network> [on|off] [--bytes N]", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: 2,
			Help: "Show each read and write of a connection, or of all whose peers are in a network, until cancelled.\n\n" +
				"What is shown may hold secrets of users: passwords, tokens, messages; of TLS it is the plain text. It is audited when it ends.\n" +
				"\"off\" ends the traces of that id or network, whoever has begun them. A network means the listeners there are now,\n" +
				"without those of the shell. What comes faster than you read it is dropped, and you are told how much.",
			Flags: []shell.Flag{{Name: "bytes", Value: "N", Help: "How many bytes of each to show; 64 if not given, up to 4096; 0 is none."}},
			Run:   a.trace, Complete: a.completeTrace},
		{Name: "traces", Role: shell.Viewer, Help: "Show which traces are on, and whose they are.", Run: a.showTraces},
	}
}

// meter measures what connections carry between two looks.
type meter struct {
	filter    Filter
	now, last map[uint64]uint64 // bytes by id; the maps take turns
	at        time.Time
}

// usage is what a connection has carried since the last look.
type usage struct {
	listener string
	conns.Info
	bytes uint64
}

var topColumns = []shell.Column{
	{Key: "id", Title: "ID", Right: true}, {Key: "listener", Title: "LISTENER"}, {Key: "peer", Title: "PEER"},
	{Key: "per_second", Title: "PER SECOND", Right: true, Kind: shell.KindBytes}, {Key: "bytes", Title: "BYTES", Right: true, Kind: shell.KindBytes},
	{Key: "age", Title: "AGE", Right: true, Kind: shell.KindDuration, Wide: true}, {Key: "state", Title: "STATE", Wide: true},
}

func (a *admin) top(ctx context.Context, c *shell.Call) error {
	f, err := a.filter(c, live)
	if err != nil {
		return err
	}
	interval, err := period(c, "interval", time.Second, 100*time.Millisecond, time.Hour)
	if err != nil {
		return err
	}
	limit, err := whole(c, "limit", 10, 1, maxRows)
	if err != nil {
		return err
	}
	frames, err := whole(c, "count", 0, 1, 1_000_000_000)
	if err != nil {
		return err
	}
	m := &meter{filter: f, now: map[uint64]uint64{}, last: map[uint64]uint64{}}
	a.look(m, 0)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := c.Frame(a.look(m, limit)); err != nil {
			return err
		}
		if n == frames {
			return nil
		}
	}
}

// look returns the busiest connections since the last look.
func (a *admin) look(m *meter, most int) shell.Table {
	now := time.Now()
	elapsed := now.Sub(m.at).Seconds()
	m.now, m.last, m.at = m.last, m.now, now
	clear(m.now)
	var busiest []usage
	var all int
	var sum, carriedAll uint64
	for _, l := range a.listeners() {
		l.Select(conns.Query{Match: func(i *conns.Info) bool {
			if !m.filter.Match(l.Ref(), i) {
				return false
			}
			all++
			total := carried(i)
			moved := total - m.last[i.ID] // one that has come since has had none
			m.now[i.ID] = total
			sum += moved
			carriedAll += total
			if most > 0 {
				busiest = keep(busiest, usage{l.Ref(), *i, moved}, most)
			}
			return false // it is looked at, nothing more
		}})
	}
	t := shell.Table{Columns: topColumns, Total: all + 1}
	t.Rows = append(t.Rows, []any{nil, "all", count(all, "connection"), perSecond(sum, elapsed), shell.Bytes(carriedAll), nil, nil})
	for _, r := range order(busiest, most) {
		t.Rows = append(t.Rows, []any{r.ID, r.listener, addrString(r.RemoteAddr), perSecond(r.bytes, elapsed), shell.Bytes(carried(&r.Info)), since(r.Since), r.State()})
	}
	return t
}

func perSecond(bytes uint64, seconds float64) shell.Bytes {
	return shell.Bytes(float64(bytes) / seconds)
}

// keep adds r if it may be among the busiest, of which there are not many more than most.
func keep(all []usage, r usage, most int) []usage {
	if all = append(all, r); len(all) >= 2*most+64 {
		all = order(all, most)
	}
	return all
}

// order returns the busiest in order.
func order(all []usage, most int) []usage {
	slices.SortFunc(all, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(carried(&b.Info), carried(&a.Info)), cmp.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), most)]
}
