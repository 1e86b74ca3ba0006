package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// checkHost returns an error for a request that names a host that the gateway does not serve.
//
// A web page can make its own name resolve to a loopback address (DNS rebinding), and its requests
// then reach the gateway as requests of the same origin. A gateway on a loopback address therefore
// serves only loopback names and the names that Options.Hosts and Options.Origins contain.
func (g *Gateway) checkHost(r *http.Request) error {
	if r.Host == "" || isLoopbackHost(r.Host) {
		return nil // HTTP/1.0, which no browser uses
	}
	if len(g.opts.Hosts) == 0 && !onLoopback(r) {
		return nil
	}
	if anyMatches(g.opts.Hosts, r.Host) || anyMatches(g.opts.Origins, r.Host) {
		return nil
	}
	why := ""
	if len(g.opts.Hosts) == 0 {
		why = " on a loopback address"
	}
	return fmt.Errorf("the host %.100q is not served%s: if it is a name of this server, add it to Options.Hosts (ranchd --allowed-host)", r.Host, why)
}

// checkOrigin returns an error if the page that makes the request may not connect. Clients that are
// no browsers send no origin and are allowed.
func (g *Gateway) checkOrigin(r *http.Request) error {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if site == "same-origin" || origin == "" && (site == "" || site == "none") {
		return nil // pages cannot set Sec-Fetch-Site
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		if anyMatches(g.opts.Origins, "") {
			return nil // a page without origin is allowed only if all origins are
		}
		return fmt.Errorf("pages without an origin may connect only if Options.Origins is \"*\" (ranchd --allowed-origin)")
	}
	// Proxies that rewrite Host pass the original in X-Forwarded-Host. A page of another origin
	// cannot set that: WebSockets and event streams take no header fields, and fetch would ask for
	// permission first.
	forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ",")
	if site == "" && (sameHost(u, r.Host) || sameHost(u, strings.TrimSpace(forwarded))) {
		return nil
	}
	if anyMatches(g.opts.Origins, u.Host) {
		return nil
	}
	return fmt.Errorf("pages of the origin %.100q may not connect to the host %.100q: if they should, add %.100q to Options.Origins (ranchd --allowed-origin)", origin, r.Host, u.Host)
}

// sameHost reports whether host, as a request names it, is that of an origin. Proxies may add the
// default port of the origin's scheme, or omit a port.
func sameHost(origin *url.URL, host string) bool {
	name, port := splitHost(host)
	if name == "" || !strings.EqualFold(name, origin.Hostname()) {
		return false
	}
	return port == "" || port == portOf(origin)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case u.Scheme == "http":
		return "80"
	}
	return ""
}

// splitHost returns the name or address in host, without brackets, and the port, "" if it has none.
func splitHost(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ""
}

// isLoopbackHost reports whether host, with any port, can only mean this machine.
func isLoopbackHost(host string) bool {
	name, _ := splitHost(host)
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// onLoopback reports whether the request has arrived at a loopback address.
func onLoopback(r *http.Request) bool {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// anyMatches reports whether one of the patterns matches host, or is "*". A pattern without a port
// matches the default ports too.
func anyMatches(patterns []string, host string) bool {
	for _, p := range patterns {
		if p == "*" {
			return true
		}
		if ok, _ := matchHost(p, host); ok && host != "" {
			return true
		}
		if name, port := splitHost(host); port == "443" || port == "80" {
			if ok, _ := matchHost(p, name); ok {
				return true
			}
		}
	}
	return false
}

func matchHost(pattern, host string) (bool, error) {
	return path.Match(strings.ToLower(pattern), strings.ToLower(host))
}
