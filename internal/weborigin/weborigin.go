// Package weborigin examines the Host and Origin of HTTP requests, so that handlers can refuse
// those that other sites make a browser send, and keeps pages apart from those of other sites.
//
// A web page can make its own name resolve to an address of a server that only its user's machine
// can reach (DNS rebinding): its requests then reach the server as requests of the same origin, and
// only their Host names the page. A page of another origin can send requests too, and only their
// Origin or Sec-Fetch-Site names it.
package weborigin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// Isolate sets the headers that keep a page apart from those of other origins: contentPolicy says
// what it may load, and no other origin can embed its answers, open it or see its address.
func Isolate(h http.Header, contentPolicy string) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// SameHost reports whether host, as a request names it, is that of an origin. Proxies may add the
// default port of the origin's scheme, or omit a port.
func SameHost(origin *url.URL, host string) bool {
	name, port := Split(host)
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

// Split returns the name or address in host, without brackets, and the port, "" if it has none.
func Split(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ""
}

// IsLoopback reports whether host, with any port, can only mean this machine.
func IsLoopback(host string) bool {
	name, _ := Split(host)
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// IsAddress reports whether host, with any port, is an IP address. No page can make one resolve to
// another address.
func IsAddress(host string) bool {
	name, _ := Split(host)
	_, err := netip.ParseAddr(name)
	return err == nil
}

// OnLoopback reports whether the request has arrived at a loopback address.
func OnLoopback(r *http.Request) bool {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// Matches reports whether one of the patterns matches host, or is "*". A pattern without a port
// matches the default ports too.
func Matches(patterns []string, host string) bool {
	for _, p := range patterns {
		if p == "*" {
			return true
		}
		if ok, _ := match(p, host); ok && host != "" {
			return true
		}
		if name, port := Split(host); port == "443" || port == "80" {
			if ok, _ := match(p, name); ok {
				return true
			}
		}
	}
	return false
}

// IsPattern reports whether p can be matched with a host: a host without a scheme, or a pattern of
// path.Match.
func IsPattern(p string) bool {
	_, err := match(p, "")
	return err == nil && !strings.Contains(p, "/")
}

func match(pattern, host string) (bool, error) {
	return path.Match(strings.ToLower(pattern), strings.ToLower(host))
}
