package sniff

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"goranch/internal/hostname"
	"goranch/internal/option"
	"goranch/internal/termtext"
	"goranch/protocol"
	"goranch/transport"
)

// Route assigns a protocol to TLS clients by their ClientHello.
type Route struct {
	// ServerNames are the server names (SNI) for which the route is used: "example.com";
	// "*.example.com", which stands for all names that end with .example.com; and "" for clients
	// that send none. They are compared without regard to case. Names that are not in ASCII are
	// written in their encoded form, "xn--…". Without ServerNames the route is used for all
	// clients.
	ServerNames []string
	// ALPN are names of application protocols, such as "h2". The client must offer one of them.
	// Without ALPN the route is used for all clients.
	ALPN []string
	// Protocol must not be nil.
	Protocol protocol.Protocol
}

// routeTable finds the route for a ClientHello.
type routeTable struct {
	// names are the routes for a server name in lower case, for those that end with a key that
	// begins with a dot, and for clients without server name (""), each in the order of the routes.
	names map[string][]*Route
	any   []*Route // those without ServerNames
}

// TLSRoutes returns a [Select] that waits for the complete ClientHello and returns the protocol of
// a route: for the exact server name, else for the longest wildcard, else without ServerNames. Of
// several routes for a name the first with a matching ALPN is used; if none matches, the search
// continues with the next shorter wildcard. The number of routes does not affect the time. A server
// name that is no host name is used by routes without ServerNames only. A malformed ClientHello and
// other data have no protocol: the next [Rule] is evaluated. The server name, escaped and cut to
// 128 bytes, becomes the label "sni" of the connection. The error reports all fields that cannot be
// used, and names and protocols of earlier routes.
func TLSRoutes(routes ...Route) (Select, error) {
	t, err := newRouteTable(routes)
	if err != nil {
		return nil, err
	}
	return t.selectProtocol, nil
}

// SNI matches a complete ClientHello with one of the server names, in the form of
// [Route.ServerNames]. It panics if a name cannot be used. For many names see [TLSRoutes].
func SNI(names ...string) Match { return mustMatch(Route{ServerNames: names}) }

// ALPN matches a complete ClientHello in which the client offers one of the application protocols.
// It panics if the name of a protocol cannot be used.
func ALPN(protocols ...string) Match { return mustMatch(Route{ALPN: protocols}) }

// unrouted stands for the protocol of a route that is used as a Match.
var unrouted = protocol.Func(nil)

func mustMatch(r Route) Match {
	r.Protocol = unrouted
	t, err := newRouteTable([]Route{r})
	if err != nil {
		panic("sniff: " + err.Error())
	}
	empty := len(r.ServerNames) == 0 && len(r.ALPN) == 0
	return func(first []byte) (match, more bool) {
		h, more, ok := parse(first)
		return ok && !empty && t.find(h) != nil, more
	}
}

func newRouteTable(routes []Route) (*routeTable, error) {
	var f option.Faults
	if len(routes) == 0 {
		f.Bad("Routes", "of length 0", "1 or more routes")
	}
	t := &routeTable{names: map[string][]*Route{}}
	for i := range routes {
		r := routes[i]
		r.ServerNames, r.ALPN = slices.Clone(r.ServerNames), slices.Clone(r.ALPN)
		field := fmt.Sprintf("Routes[%d] ", i)
		validateProtocol(&f, field+"Protocol", r.Protocol, true)
		for _, a := range r.ALPN {
			if len(a) == 0 || len(a) > 255 { // RFC 7301, section 3.1
				f.Bad(field+"ALPN", fmt.Sprintf("%.40q", a), "names of 1 to 255 bytes")
			}
		}
		t.add(&f, field, &r)
	}
	return t, f.Err()
}

// add enters a route under its names.
func (t *routeTable) add(f *option.Faults, field string, r *Route) {
	enter := func(list []*Route, what string) []*Route {
		if slices.Contains(list, r) { // the route has the name twice
			return list
		}
		if slices.ContainsFunc(list, func(earlier *Route) bool { return earlier.shadows(r) }) {
			f.Add(fmt.Errorf("option %sServerNames %s: an earlier route is used for it already", field, what))
		}
		return append(list, r)
	}
	if len(r.ServerNames) == 0 {
		t.any = enter(t.any, "of length 0")
	}
	for _, name := range r.ServerNames {
		key, ok := keyOf(name)
		if !ok {
			f.Bad(field+"ServerNames", fmt.Sprintf("%.300q", name), `host names, "*." and a host name, and ""`)
			continue
		}
		t.names[key] = enter(t.names[key], fmt.Sprintf("%q", name))
	}
}

// shadows reports whether later is never used for a name that both have.
func (r *Route) shadows(later *Route) bool {
	return len(r.ALPN) == 0 || len(later.ALPN) > 0 && !slices.ContainsFunc(later.ALPN, func(a string) bool { return !slices.Contains(r.ALPN, a) })
}

// keyOf returns the key of a name in a routeTable.
func keyOf(name string) (key string, ok bool) {
	if name == "" {
		return "", true
	}
	host, wildcard := strings.CutPrefix(name, "*.")
	b, ok := hostname.Append(nil, host)
	if _, err := netip.ParseAddr(host); err == nil || !ok {
		return "", false
	}
	if wildcard {
		return "." + string(b), true
	}
	return string(b), true
}

// find returns the route for h; nil if there is none.
func (t *routeTable) find(h hello) *Route {
	var buf [hostname.Max]byte
	if host, ok := h.host(buf[:0]); ok {
		if r := firstFit(t.names[string(host)], h); r != nil {
			return r
		}
		for i, c := range host {
			if c != '.' {
				continue
			}
			if r := firstFit(t.names[string(host[i:])], h); r != nil {
				return r
			}
		}
	} else if h.name.n == 0 {
		if r := firstFit(t.names[""], h); r != nil {
			return r
		}
	}
	return firstFit(t.any, h)
}

// firstFit returns the first route whose ALPN h has.
func firstFit(routes []*Route, h hello) *Route {
	for _, r := range routes {
		if len(r.ALPN) == 0 || h.offers(r.ALPN) {
			return r
		}
	}
	return nil
}

func (t *routeTable) selectProtocol(conn *transport.Conn, first []byte) (p protocol.Protocol, more bool) {
	h, more, ok := parse(first)
	if !ok {
		return nil, more
	}
	r := t.find(h)
	if r == nil {
		return nil, false
	}
	if h.name.n > 0 {
		conn.SetLabel("sni", labelOf(h)) // the error is that there are too many labels already
	}
	return r.Protocol, false
}

const maxLabel = 128 // bytes of the value: see transport.Conn.SetLabel

// labelOf returns the server name as the value of a label: in lower case if it is a host name.
func labelOf(h hello) string {
	var buf [hostname.Max]byte
	if host, ok := h.host(buf[:0]); ok && len(host) <= maxLabel {
		return string(host)
	}
	name := termtext.Line(string(h.name.append(nil)))
	if len(name) <= maxLabel {
		return name
	}
	const rest = "…"
	cut := maxLabel - len(rest)
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + rest
}
