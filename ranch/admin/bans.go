package admin

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"goranch/conns"
	"goranch/conns/netrules"
	"goranch/internal/remoteip"
	"goranch/protocol/shell"
	"goranch/ranch"
)

const (
	// banOrigin is the Origin of rules that the command ban adds.
	banOrigin = "operator"
	// maxBans is how many networks a ban or unban takes.
	maxBans = 1000
)

func (a *admin) banCommands() []shell.Command {
	return []shell.Command{
		{Name: "ban", Usage: "<network> ... [--for TIME] [--reason TEXT] [--reset] [--keep] [--yes]", Role: shell.Operator, Changes: true,
			MinArgs: 1, MaxArgs: maxBans,
			Help: "Refuse connections from networks or addresses, and close live ones.\n\n" +
				"A ban lasts for TIME, until unban, or until the server stops. It replaces an earlier ban of the\n" +
				"same network by this command. It does not apply to addresses for which a rule with a longer\n" +
				"prefix exists. A ban of your own address or of all addresses requires --yes.",
			Flags: []shell.Flag{
				{Name: "for", Value: "TIME", Help: "Duration of the ban, from 1s, such as 1h, or infinity. Default: infinity."},
				{Name: "reason", Value: "TEXT", Help: "Reason, which bans and the log show."},
				{Name: "reset", Help: "Reset connections instead of sending a rejection message."},
				{Name: "keep", Help: "Do not close live connections, until the next ban without this flag."},
				{Name: "yes", Help: "Allow a ban of your own address or of all addresses."},
			},
			Run: a.ban, Complete: a.completePeer},
		{Name: "unban", Usage: "<network> ...", Role: shell.Operator, Changes: true, MinArgs: 1, MaxArgs: maxBans,
			Help: "Remove bans. The networks must be exactly those that were banned.\n\n" +
				"A ban from a file returns when the file changes, unless it was removed there too.",
			Run: a.unban, Complete: a.completeBan},
		{Name: "bans", Usage: "[<network>] [--limit N] [--offset N]", Role: shell.Viewer, MaxArgs: 1,
			Help: "List all rules for client networks, or those that overlap a network.\n\n" +
				"deny and reset are bans; other rules exempt a network from limits or replace them. The rule with\n" +
				"the longest prefix applies to an address.",
			Flags: []shell.Flag{
				{Name: "limit", Value: "N", Help: "Show at most N rules, up to 1000. Default: 100."},
				{Name: "offset", Value: "N", Help: "Skip the first N rules."},
			},
			Run: a.bans, Complete: a.completeBan},
	}
}

// networkTable is a table of rules and the listeners that use it.
type networkTable struct {
	*conns.Networks
	listeners []*ranch.Listener
}

// networkTables returns the tables of all listeners, or an error if there is none.
func (a *admin) networkTables() (tables []networkTable, err error) {
	for _, l := range a.listeners() {
		n := l.Options().Networks
		if n == nil {
			continue
		}
		i := slices.IndexFunc(tables, func(t networkTable) bool { return t.Networks == n })
		if i < 0 {
			i, tables = len(tables), append(tables, networkTable{Networks: n})
		}
		tables[i].listeners = append(tables[i].listeners, l)
	}
	if len(tables) == 0 {
		err = &shell.Error{Message: "no listener has a table of networks (the option Networks)"}
	}
	return tables, err
}

// parseNetworks reads the arguments of ban and unban.
func parseNetworks(args []string) (networks []netip.Prefix, err error) {
	for _, s := range args {
		p, err := netrules.ParseNetwork(s)
		if err != nil {
			return nil, shell.Usage("%v", err)
		}
		networks = append(networks, p)
	}
	return networks, nil
}

func (a *admin) ban(_ context.Context, c *shell.Call) error {
	networks, err := parseNetworks(c.Args)
	if err != nil {
		return err
	}
	d, err := durationFlag(c, "for", infinity, time.Second, infinity)
	if err != nil {
		return err
	}
	tables, err := a.networkTables()
	if err != nil {
		return err
	}
	if err := checkBan(c, networks, tables); err != nil {
		return err
	}
	rule := conns.NetworkRule{Deny: true, Reset: c.Flags["reset"] != "", Reason: c.Flags["reason"], Origin: banOrigin}
	if d != infinity {
		rule.Until = time.Now().Add(d)
	}
	rules := make([]conns.NetworkRule, len(networks))
	for i, p := range networks {
		rules[i] = rule
		rules[i].Prefix = p
	}
	closed := 0
	for _, t := range tables {
		if err := t.Add(rules...); err != nil {
			return shell.Usage("%v", err)
		}
		for _, l := range t.listeners {
			if c.Flags["keep"] == "" {
				closed += l.CloseBanned()
			}
		}
	}
	f := shell.Fields{{Key: "banned", Title: "Banned networks", Value: len(rules)}}
	if !rule.Until.IsZero() {
		f = append(f, shell.Fields{{Key: "until", Title: "Until", Value: rule.Until}}...)
	}
	c.Return(append(f, shell.Fields{{Key: "closed", Title: "Closed connections", Value: closed}}...))
	return nil
}

// checkBan returns an error for bans that are probably a mistake, unless they are confirmed.
func checkBan(c *shell.Call, networks []netip.Prefix, tables []networkTable) error {
	if c.Flags["yes"] != "" {
		return nil
	}
	own := netip.Addr{}
	for _, t := range tables {
		if slices.ContainsFunc(t.listeners, func(l *ranch.Listener) bool { return isOwn(c, l) }) {
			own = remoteip.Of(c.Conn().RemoteAddr())
		}
	}
	for _, p := range networks {
		switch {
		case p.Bits() == 0:
			return shell.Usage("%v contains all addresses; add --yes to ban it", p)
		case p.Contains(own):
			return shell.Usage("%v contains your own address %v; add --yes to ban it", p, own)
		}
	}
	return nil
}

func (a *admin) unban(_ context.Context, c *shell.Call) error {
	networks, err := parseNetworks(c.Args)
	if err != nil {
		return err
	}
	tables, err := a.networkTables()
	if err != nil {
		return err
	}
	t := shell.Table{Columns: banColumns, Rows: [][]any{}}
	found := map[netip.Prefix]bool{}
	for _, table := range tables {
		for _, r := range removeBans(table.Networks, networks) {
			found[r.Prefix] = true
			t.Rows = append(t.Rows, banCells(r, table))
		}
	}
	for _, p := range networks {
		if found[p] {
			continue
		}
		message := "no ban of " + p.String()
		if r, ok := tables[0].Lookup(p.Addr()); ok && r.Deny && r.Prefix.Contains(p.Addr()) && r.Prefix.Bits() < p.Bits() {
			message += "; the ban of " + r.Prefix.String() + " applies to it"
		}
		if len(t.Rows) > 0 {
			message += "; other bans were removed"
		}
		return &shell.Error{Message: message}
	}
	c.Return(t)
	return nil
}

// removeBans removes the rules of these networks that deny, and returns them. Other rules of the
// networks stay.
func removeBans(n *conns.Networks, networks []netip.Prefix) (bans []conns.NetworkRule) {
	for _, r := range n.Remove(networks...) {
		if r.Deny {
			bans = append(bans, r)
		} else {
			n.Add(r) // it was valid
		}
	}
	return bans
}

var banColumns = []shell.Column{
	{Key: "network", Title: "NETWORK"}, {Key: "rule", Title: "RULE"}, {Key: "until", Title: "UNTIL", Kind: shell.KindTime},
	{Key: "reason", Title: "REASON"}, {Key: "origin", Title: "ORIGIN"}, {Key: "listeners", Title: "LISTENERS", Wide: true},
}

func banCells(r conns.NetworkRule, t networkTable) []any {
	var until any = ""
	if !r.Until.IsZero() {
		until = r.Until
	}
	var names []string
	for _, l := range t.listeners {
		names = append(names, l.Ref())
	}
	words := r
	words.Until = time.Time{} // in a column of its own
	return []any{r.Prefix.String(), netrules.Words(words), until, r.Reason, r.Origin, strings.Join(names, " ")}
}

func (a *admin) bans(_ context.Context, c *shell.Call) error {
	offset, limit, err := pageOf(c)
	if err != nil {
		return err
	}
	networks, err := parseNetworks(c.Args)
	if err != nil {
		return err
	}
	tables, err := a.networkTables()
	if err != nil {
		return err
	}
	t := shell.Table{Columns: banColumns, Rows: [][]any{}}
	for _, table := range tables {
		for _, r := range table.Rules() {
			if len(networks) == 1 && !networks[0].Overlaps(r.Prefix) {
				continue
			}
			if t.Total++; t.Total > offset && len(t.Rows) < limit {
				t.Rows = append(t.Rows, banCells(r, table))
			}
		}
	}
	c.Return(t)
	return nil
}

// completeBan completes the networks of bans.
func (a *admin) completeBan(_ context.Context, _ *shell.Call, args []string) (words []string) {
	tables, _ := a.networkTables()
	for _, t := range tables {
		for _, r := range t.Rules() {
			if s := r.Prefix.String(); r.Deny && strings.HasPrefix(s, args[len(args)-1]) && !slices.Contains(words, s) {
				if words = append(words, s); len(words) == maxCompletedIDs {
					return words
				}
			}
		}
	}
	return words
}

// completePeer completes the addresses of live connections.
func (a *admin) completePeer(_ context.Context, _ *shell.Call, args []string) (words []string) {
	seen := map[string]bool{}
	for _, l := range a.listeners() {
		l.Select(conns.Query{Limit: 1, Match: func(i *conns.Info) bool {
			if ip := remoteip.Of(i.RemoteAddr); ip.IsValid() && len(seen) < maxCompletedIDs && strings.HasPrefix(ip.String(), args[len(args)-1]) {
				seen[ip.String()] = true
			}
			return false
		}})
	}
	for s := range seen {
		words = append(words, s)
	}
	return words
}
