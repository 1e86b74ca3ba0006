package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"goranch/internal/settings"
	"goranch/protocol/echo"
	"goranch/protocol/sniff"
	"goranch/ranch/admin"
)

// routeConfig is a table [[listener.route]]: the TLS clients that are forwarded to upstreams of
// their own.
type routeConfig struct {
	Relay relayConfig // the listener's with the upstreams of the route

	keys routeKeys // as text
}

// id identifies a route of a listener, also in later versions of the file. It does not change when
// server names are appended. Two routes with the same id are a fault, because the second would
// never be used.
func (k *routeKeys) id() string {
	name := "*" // all
	if len(k.ServerName) > 0 {
		name = cmp.Or(strings.ToLower(k.ServerName[0]), "-")
	}
	if len(k.ALPN) > 0 {
		name += " " + strings.Join(k.ALPN, ",")
	}
	return name
}

// readRoutes reads the tables of routes.
func (l *listenerConfig) readRoutes(all *faults) {
	earlier := earlierRoutes{}
	for _, s := range l.scope.routes {
		at := place{l.scope.table.file, s.Line, l.scope.table.table + ": " + routeTable}
		r := routeConfig{Relay: l.Relay}
		all := setTable(all, at.file, at.table, s, &r.keys, routeKeysTable)
		r.checkClients(all, at, earlier)
		if len(r.keys.Upstream) == 0 {
			all.put(all.at(at, "upstream is missing: every route has one or more"))
		}
		r.Relay.Upstreams = nil
		r.Relay.readUpstreams(all, r.keys.Upstream)
		l.checkUpstreams(all, &r.Relay)
		l.Routes = append(l.Routes, r)
	}
}

// checkClients reports the faults of server-name and alpn.
func (r *routeConfig) checkClients(all *faults, at place, earlier earlierRoutes) {
	before := all.count()
	for _, name := range r.keys.ServerName {
		read(all, "--server-name", name, serverName)
	}
	for _, a := range r.keys.ALPN {
		read(all, "--alpn", a, alpn)
	}
	switch {
	case all.count() > before:
	case len(r.keys.ServerName) > 0:
		for _, name := range r.keys.ServerName {
			if !earlier.add(name, sniff.Route{ServerNames: []string{name}, ALPN: r.keys.ALPN}, &r.keys) {
				all.add("--server-name %s: an earlier route is used for it already", settings.Quote(name))
			}
		}
	case len(r.keys.ALPN) == 0:
		all.put(all.at(at, "server-name is missing: every route has server-name or alpn; upstream of the listener is for all other clients"))
	case !earlier.add("*", sniff.Route{ALPN: r.keys.ALPN}, &r.keys):
		all.add("--alpn %s: an earlier route is used for it already", settings.Quote(strings.Join(r.keys.ALPN, " ")))
	}
}

// serverName checks a server name as package sniff does.
func serverName(s string) (string, error) {
	if !routable(sniff.Route{ServerNames: []string{s}}) {
		return "", errors.New(`allowed are host names such as www.example.org, "*." and a host name, and "" for clients that send none; names that are not in ASCII begin with xn--`)
	}
	return s, nil
}

// alpnName has no commas, which separate the names in ids, and no characters that cannot be
// printed.
var alpnName = regexp.MustCompile(`^[!-+\--~]{1,255}$`)

func alpn(s string) (string, error) {
	if !alpnName.MatchString(s) {
		return "", errors.New("allowed are names such as h2 and http/1.1, of 1 to 255 visible ASCII characters other than commas")
	}
	return s, nil
}

// routable reports whether package sniff accepts routes.
func routable(routes ...sniff.Route) bool {
	routes = slices.Clone(routes)
	for i := range routes {
		routes[i].Protocol = echo.Protocol{} // in place of relays
	}
	_, err := sniff.TLSRoutes(routes...)
	return err == nil
}

// earlierRoutes are the routes for each server name in lower case. Comparing only these takes less
// time than comparing all.
type earlierRoutes map[string]struct {
	routes []sniff.Route
	last   *routeKeys
}

// add reports whether a route can be used after the others for that name, or has the name twice.
func (e earlierRoutes) add(name string, r sniff.Route, owner *routeKeys) bool {
	name = strings.ToLower(name)
	list := e[name]
	if list.last == owner {
		return true
	}
	if !routable(append(list.routes, r)...) {
		return false
	}
	list.routes, list.last = append(list.routes, r), owner
	e[name] = list
	return true
}

// checkRouted reports routes on listeners that cannot have any.
func (s *scope) checkRouted(all *faults, e endpoint) {
	if len(s.routes) == 0 {
		return
	}
	at := place{s.table.file, s.routes[0].Line, s.table.table}
	switch {
	case e.Service != relayService:
		all.put(all.at(at, fmt.Sprintf("%s: listeners of protocol %s have no such table; allowed for %s", routeTable, e.Service, relayService)))
	case e.TLS:
		all.put(all.at(at, fmt.Sprintf("%s: the address %s ends TLS, and routes forward it; use tcp://host:port, unix:/path, fd:N or systemd:NAME", routeTable, settings.Quote(s.Address))))
	}
}

// sameRoutes reports whether two listeners have the same routes.
func (l *listenerConfig) sameRoutes(o *listenerConfig) bool {
	return slices.EqualFunc(l.Routes, o.Routes, func(a, b routeConfig) bool {
		return !slices.ContainsFunc(routeKeysTable, func(k settings.Key) bool { return !slices.Equal(listOf(k, &a.keys), listOf(k, &b.keys)) })
	})
}

func listOf(k settings.Key, keys *routeKeys) []string { return k.Get(keys).([]string) }

// routeChanges returns the differences between the routes of two configurations of a listener.
func (l *listenerConfig) routeChanges(next *listenerConfig) (list []admin.Change) {
	before, after := l.routesByID(), next.routesByID()
	add := func(id string) {
		for _, k := range routeKeysTable {
			if a, b := k.Text(before[id]), k.Text(after[id]); a != b {
				list = append(list, admin.Change{Listener: l.Name, Key: routeTable + " " + id + ": " + k.Name, Before: a, After: b, Effect: admin.Now})
			}
		}
	}
	var orderBefore, orderAfter []string // of the routes that both have
	none := new(routeKeys)
	for _, r := range next.Routes {
		id := r.keys.id()
		if before[id] == nil {
			before[id] = none
		} else {
			orderAfter = append(orderAfter, id)
		}
		add(id)
	}
	for _, r := range l.Routes {
		id := r.keys.id()
		if after[id] == nil {
			after[id] = none
			add(id)
		} else {
			orderBefore = append(orderBefore, id)
		}
	}
	if !slices.Equal(orderBefore, orderAfter) {
		list = append(list, admin.Change{Listener: l.Name, Key: "order of routes",
			Before: strings.Join(orderBefore, "; "), After: strings.Join(orderAfter, "; "), Effect: admin.Now})
	}
	return list
}

func (l *listenerConfig) routesByID() map[string]*routeKeys {
	all := map[string]*routeKeys{}
	for i := range l.Routes {
		k := &l.Routes[i].keys
		all[k.id()] = k
	}
	return all
}
