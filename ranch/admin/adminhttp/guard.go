package adminhttp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"goranch/internal/weborigin"
)

// contentPolicy lets the page load and contact its own origin only, and makes the browser refuse
// markup that a script inserts.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func setSecurityHeaders(h http.Header) {
	weborigin.Isolate(h, contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
}

// checkHost returns an error for a request that names a host which may be that of a page whose name
// resolves to this server.
func (h *Handler) checkHost(r *http.Request) error {
	if r.Host == "" || weborigin.IsLoopback(r.Host) || weborigin.IsAddress(r.Host) {
		return nil // no Host is HTTP/1.0, which no browser uses
	}
	if name, _ := weborigin.Split(r.Host); r.TLS != nil && strings.EqualFold(name, r.TLS.ServerName) {
		return nil // the browser has verified the certificate for this name
	}
	if weborigin.Matches(h.opts.Hosts, r.Host) {
		return nil
	}
	return fmt.Errorf("the host %.100q is not served: if it is a name of this server, add it to Options.Hosts (ranchd --admin-http-host)", r.Host)
}

// checkOrigin returns an error for a request that a page of another site makes. Clients that are no
// browsers send neither header and are allowed.
func (h *Handler) checkOrigin(r *http.Request) error {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if site == "same-origin" || origin == "" && (site == "" || site == "none") {
		return nil // pages cannot set Sec-Fetch-Site
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" {
		if site == "" && weborigin.SameHost(u, r.Host) || weborigin.Matches(h.opts.Hosts, u.Host) {
			return nil
		}
	}
	return fmt.Errorf("pages of the origin %.100q may not use the host %.100q", origin, r.Host)
}

// checkContentType refuses bodies that a page of another site can send without asking for
// permission.
func checkContentType(r *http.Request) error {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return fmt.Errorf("content type %.100q: allowed is application/json", kind)
	}
	return nil
}

// bodyTime limits how long net/http reads the body of a refused request.
const bodyTime = time.Second

// refuseBody refuses a request because of its body, and closes the connection rather than read it.
func refuseBody(w http.ResponseWriter, rc *http.ResponseController, status int, err error) {
	w.Header().Set("Connection", "close")
	rc.SetReadDeadline(time.Now().Add(bodyTime))
	refuse(w, status, err)
}

// isTooLarge reports whether reading a body has reached its limit.
func isTooLarge(err error) bool { return errors.As(err, new(*http.MaxBytesError)) }
