package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"goranch/internal/weborigin"
)

// checkHost returns an error for a request that names a host that the gateway does not serve.
//
// A web page can make its own name resolve to a loopback address (DNS rebinding), and its requests
// then reach the gateway as requests of the same origin. A gateway on a loopback address therefore
// serves only loopback names and the names that Options.Hosts and Options.Origins contain.
func (g *Gateway) checkHost(r *http.Request) error {
	if r.Host == "" || weborigin.IsLoopback(r.Host) {
		return nil // HTTP/1.0, which no browser uses
	}
	if len(g.opts.Hosts) == 0 && !weborigin.OnLoopback(r) {
		return nil
	}
	if weborigin.Matches(g.opts.Hosts, r.Host) || weborigin.Matches(g.opts.Origins, r.Host) {
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
		if weborigin.Matches(g.opts.Origins, "") {
			return nil // a page without origin is allowed only if all origins are
		}
		return fmt.Errorf("pages without an origin may connect only if Options.Origins is \"*\" (ranchd --allowed-origin)")
	}
	// Proxies that rewrite Host pass the original in X-Forwarded-Host. A page of another origin
	// cannot set that: WebSockets and event streams take no header fields, and fetch would ask for
	// permission first.
	forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ",")
	if site == "" && (weborigin.SameHost(u, r.Host) || weborigin.SameHost(u, strings.TrimSpace(forwarded))) {
		return nil
	}
	if weborigin.Matches(g.opts.Origins, u.Host) {
		return nil
	}
	return fmt.Errorf("pages of the origin %.100q may not connect to the host %.100q: if they should, add %.100q to Options.Origins (ranchd --allowed-origin)", origin, r.Host, u.Host)
}
