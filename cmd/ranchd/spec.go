package main

import (
	"maps"
	"slices"
	"strings"

	"goranch/internal/settings"
)

var (
	allKeys  = settings.Keys(flags{}, kinds)
	flagKeys = slices.DeleteFunc(slices.Clone(allKeys), func(k settings.Key) bool {
		return slices.ContainsFunc(fileOnly, func(o settings.Key) bool { return o.Name == k.Name })
	})
	fileOnly         = settings.Keys(fileKeys{}, kinds)
	routeKeysTable   = settings.Keys(routeKeys{}, kinds)
	limitsTable      = settings.Keys(limitsKeys{}, kinds)
	networkKeysTable = settings.Keys(networkKeys{}, kinds)
	clusterKeysTable = settings.Keys(clusterKeys{}, kinds)
)

// spec describes configuration files.
var spec = settings.Spec{
	Keys: slices.DeleteFunc(slices.Clone(allKeys), func(k settings.Key) bool { return k.TableOnly }),
	Tables: []settings.Table{
		{Name: listenerTable, Keys: slices.DeleteFunc(slices.Clone(allKeys), func(k settings.Key) bool { return len(k.On) == 0 }),
			Help: "A listener. Keys that it has not are those at the top of the file. Without any of these tables there are the listeners of ranchd without flags; listener = [] is none.",
			Tables: []settings.Table{{Name: routeTable, Keys: routeKeysTable,
				Help: "A route of a relay listener: TLS clients, by their ClientHello, that are forwarded to upstreams of their own. TLS does not end at the listener. The listener's upstream is for all other clients; without it TLS clients get the alert unrecognized_name, and others are closed."}}},
		{Name: limitsName, Named: true, Keys: limitsTable, Help: "Limits that the listeners with limits = \"NAME\" count together."},
		{Name: networkTable, Keys: networkKeysTable, Help: "A rule for a network of clients, on all listeners but those of operators."},
		{Name: clusterTable, Single: true, Keys: clusterKeysTable,
			Help: "The cluster of which this process is a node. The nodes share topics and sessions; docs/cluster.md describes how. Without the table there is no cluster."},
	},
	Hint: "ranchd config --default prints all keys",
}

// Names of tables.
const (
	listenerTable = "listener"
	routeTable    = "route" // in a listener
	limitsName    = "limits"
	networkTable  = "network"
	clusterTable  = "cluster"
)

// scope is the settings of the process, or of a listener, and where files set them.
type scope struct {
	flags
	places map[string]place
	table  *place             // the table of a listener in a file; nil for others
	routes []settings.Section // tables in that table
}

// clone returns a copy that can be changed.
func (s *scope) clone() *scope {
	return &scope{flags: s.flags, places: maps.Clone(s.places)}
}

// set sets the keys of a section of a file, except those given on the command line. table is its
// name in messages.
func (s *scope) set(file string, section settings.Section, table string, given map[string]bool) {
	for name, v := range section.Values {
		k, ok := find(allKeys, name)
		if !ok || given[name] {
			continue
		}
		k.Set(&s.flags, v.Items)
		s.places[name] = place{file, v.Line, table}
	}
	if p, ok := s.places["address"]; ok {
		s.places["listen"] = p
	}
}

func find(keys []settings.Key, name string) (settings.Key, bool) {
	i := slices.IndexFunc(keys, func(k settings.Key) bool { return k.Name == name })
	if i < 0 {
		return settings.Key{}, false
	}
	return keys[i], true
}

// appliesTo reports whether listeners of a protocol have the key.
func appliesTo(k settings.Key, s service) bool {
	return slices.Contains(k.On, "listener") || slices.Contains(k.On, s.String())
}

// protocolsOf returns the protocols that have a key, for messages.
func protocolsOf(k settings.Key) string { return strings.Join(k.On, ", ") }
