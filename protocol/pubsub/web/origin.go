package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// allowed reports whether the page that asks may. Who is no browser says nothing of an origin, and may.
func (g *Gateway) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "none", "same-origin":
			return true
		}
		return g.allowsHost("") // a page that hides its origin: only if all may
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return g.allowsHost("")
	}
	return strings.EqualFold(u.Host, r.Host) || g.allowsHost(u.Host)
}

func (g *Gateway) allowsHost(host string) bool {
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
