package main

import (
	"errors"
	"net/netip"
	"slices"

	"goranch/conns"
	"goranch/internal/settings"
)

// sharedLimits are a table [limits.NAME]. 0 is no limit, also for MaxConnections.
type sharedLimits struct {
	Name                       string
	MaxConnections, PerAddress int
	AddressRate, AcceptRate    conns.Rate
	MaxUnestablished           int

	keys limitsKeys // as text
}

// networkRule is a table [[network]].
type networkRule struct {
	Prefix              netip.Prefix
	Deny, Reset, Exempt bool
	PerAddress          int
	AddressRate         conns.Rate
	Bits4, Bits6        int
	Reason              string
}

// readTables reads the tables of shared limits and networks, and checks that the limits which
// listeners name exist.
func (c *config) readTables(all *faults, doc *settings.Document) {
	if doc != nil {
		for _, s := range doc.Tables[limitsName] {
			c.Limits = append(c.Limits, readSharedLimits(all, doc.File, s))
		}
		for _, s := range doc.Tables[networkTable] {
			c.Networks = append(c.Networks, readNetwork(all, doc.File, s, c.Networks))
		}
		for _, s := range doc.Tables[clusterTable] {
			c.Cluster = readCluster(all, doc.File, s, c.StateDir)
		}
	}
	for _, l := range c.Listeners {
		known := slices.ContainsFunc(c.Limits, func(s sharedLimits) bool { return s.Name == l.Limits })
		if l.Limits != "" && !known {
			all.in(l.scope.places).add("--limits %s: there is no table [limits.%s]", settings.Quote(l.Limits), l.Limits)
		}
	}
}

// setTable sets the keys of a table that is not a listener, and returns faults for it. table is its
// name in messages.
func setTable(all *faults, file, table string, s settings.Section, v any, keys []settings.Key) *faults {
	settings.SetDefaults(v, keys)
	places := map[string]place{}
	for name, value := range s.Values {
		if k, ok := find(keys, name); ok {
			k.Set(v, value.Items)
			places[name] = place{file, value.Line, table}
		}
	}
	return all.in(places)
}

func readSharedLimits(all *faults, file string, s settings.Section) sharedLimits {
	l := sharedLimits{Name: s.Name}
	k := &l.keys
	all = setTable(all, file, limitsName+"."+settings.Shown(s.Name), s, k, limitsTable)
	if err := checkName(s.Name); err != nil {
		all.put(&settings.Fault{File: file, Line: s.Line, Text: "limits: " + err.Error()})
	}
	l.MaxConnections = read(all, "--max-connections", k.MaxConnections, orZero)
	l.PerAddress = read(all, "--max-per-address", k.MaxPerAddress, orZero)
	l.AddressRate = read(all, "--address-rate", k.AddressRate, rate)
	l.AcceptRate = read(all, "--accept-rate", k.AcceptRate, rate)
	l.MaxUnestablished = read(all, "--max-unestablished", k.MaxUnestablished, orZero)
	return l
}

func readNetwork(all *faults, file string, s settings.Section, others []networkRule) networkRule {
	var k networkKeys
	all = setTable(all, file, networkTable, s, &k, networkKeysTable)
	at, before := place{file, s.Line, networkTable}, all.count()
	r := networkRule{Deny: k.Deny, Reset: k.Reset, Exempt: k.Exempt, Reason: k.Reason}
	if k.Prefix == "" {
		all.put(all.at(at, "prefix is missing: every network has one, such as 10.0.0.0/8"))
	} else {
		r.Prefix = read(all, "--prefix", k.Prefix, parsePrefix)
	}
	if r.Prefix.IsValid() && slices.ContainsFunc(others, func(o networkRule) bool { return o.Prefix == r.Prefix }) {
		all.add("--prefix %s: another network has the same prefix", settings.Quote(k.Prefix))
	}
	r.PerAddress = read(all, "--max-per-address", k.PerAddress, orDefault(maxSessions))
	r.AddressRate = read(all, "--address-rate", orUnset(k.AddressRate), rate)
	r.Bits4 = read(all, "--bits-ipv4", k.Bits4, orDefault(number(1, 32)))
	r.Bits6 = read(all, "--bits-ipv6", k.Bits6, orDefault(number(1, 128)))
	if r.Reset && !r.Deny {
		all.add("--reset true: allowed only with deny = true")
	}
	if limits := k.PerAddress != "" || k.AddressRate != "" || k.Bits4 != "" || k.Bits6 != ""; r.Deny && (r.Exempt || limits) {
		all.add("--deny true: allowed only without exempt, max-per-address, address-rate, bits-ipv4 and bits-ipv6")
	} else if r.Exempt && limits {
		all.add("--exempt true: allowed only without max-per-address, address-rate, bits-ipv4 and bits-ipv6")
	}
	if r.Prefix.IsValid() && all.count() == before {
		c := config{Networks: []networkRule{r}}
		if err := new(conns.Networks).Add(c.networkRules()...); err != nil {
			all.put(all.at(at, err.Error()))
		}
	}
	return r
}

// orUnset replaces the text of a limit that is not given by that of no limit.
func orUnset(s string) string {
	if s == "" {
		return "unlimited"
	}
	return s
}

// parsePrefix reads a network or an address.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(s); aerr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil || p.Addr().Zone() != "" {
		return p, errors.New("allowed are networks such as 10.0.0.0/8 and 2001:db8::/32, and addresses")
	}
	return p.Masked(), nil
}
