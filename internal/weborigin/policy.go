package weborigin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Policy says which pages may make requests, and by which hosts a handler may be named.
type Policy struct {
	// Origins lists the hosts whose pages may make requests in addition to those of the handler's
	// own host, as patterns of [Matches]. "*" is all.
	Origins []string
	// Hosts lists the hosts by which requests may name the handler, in addition to those of Origins
	// and to loopback names and addresses. nil is all, but none on loopback addresses.
	Hosts []string
	// OriginFlag and HostFlag follow the names Options.Origins and Options.Hosts in errors.
	OriginFlag, HostFlag string
}

// CheckHost returns an error for a request that names a host that is not served. On a loopback
// address that is any but a loopback name and those of the policy: see DNS rebinding above.
func (p *Policy) CheckHost(r *http.Request) error {
	if r.Host == "" || IsLoopback(r.Host) {
		return nil // HTTP/1.0, which no browser uses
	}
	if len(p.Hosts) == 0 && !OnLoopback(r) {
		return nil
	}
	if Matches(p.Hosts, r.Host) || Matches(p.Origins, r.Host) {
		return nil
	}
	why := ""
	if len(p.Hosts) == 0 {
		why = " on a loopback address"
	}
	return fmt.Errorf("the host %.100q is not served%s: if it is a name of this server, add it to Options.Hosts%s", r.Host, why, p.HostFlag)
}

// CheckOrigin returns an error if the page that makes the request may not do that. Clients that are
// no browsers send no origin and are allowed.
func (p *Policy) CheckOrigin(r *http.Request) error {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if site == "same-origin" || origin == "" && (site == "" || site == "none") {
		return nil // pages cannot set Sec-Fetch-Site
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		if Matches(p.Origins, "") {
			return nil // a page without origin is allowed only if all origins are
		}
		return fmt.Errorf("pages without an origin may connect only if Options.Origins is \"*\"%s", p.OriginFlag)
	}
	// Proxies that rewrite Host pass the original in X-Forwarded-Host. A page of another origin
	// cannot set that: WebSockets and event streams take no header fields, and fetch would ask for
	// permission first.
	forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ",")
	if site == "" && (SameHost(u, r.Host) || SameHost(u, strings.TrimSpace(forwarded))) {
		return nil
	}
	if Matches(p.Origins, u.Host) {
		return nil
	}
	return fmt.Errorf("pages of the origin %.100q may not connect to the host %.100q: if they should, add %.100q to Options.Origins%s", origin, r.Host, u.Host, p.OriginFlag)
}
