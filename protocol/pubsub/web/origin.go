package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// originAllowed reports whether the page that makes the request may connect. Clients that are not
// browsers send no origin and are allowed.
func (g *Gateway) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "none", "same-origin":
			return true
		}
		return g.hostAllowed("") // a page without origin is allowed only if all origins are
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return g.hostAllowed("")
	}
	return strings.EqualFold(u.Host, r.Host) || g.hostAllowed(u.Host)
}

func (g *Gateway) hostAllowed(host string) bool {
	for _, p := range g.opts.Origins {
		if p == "*" {
			return true
		}
		if ok, _ := matchHost(p, host); ok && host != "" {
			return true
		}
	}
	return false
}

func matchHost(pattern, host string) (bool, error) {
	return path.Match(strings.ToLower(pattern), strings.ToLower(host))
}
