package adminhttp_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"goranch/ranch/admin/adminhttp"
)

func TestReadiness(t *testing.T) {
	var fault atomic.Pointer[error]
	s := newTestServer(t, adminhttp.Options{Checks: map[string]func(context.Context) error{"database": func(context.Context) error {
		if err := fault.Load(); err != nil {
			return *err
		}
		return nil
	}}})
	check := func(path string, status int, body string) {
		t.Helper()
		if a := s.do("GET", path, ""); a.status != status || a.body != body {
			t.Errorf("%s: got %d %q, want %d %q", path, a.status, a.body, status, body)
		}
	}
	check("/livez", 200, "ok\n")
	check("/readyz", 200, "ready\n")
	check("/readyz?verbose", 200, "[+] listener echo: ok\n[+] listener http: ok\n[+] database: ok\nready\n")
	s.listener("echo").Suspend()
	check("/readyz", 503, "not ready\n")
	check("/readyz?verbose", 503, "[-] listener echo: suspended\n[+] listener http: ok\n[+] database: ok\nnot ready\n")
	check("/readyz?exclude=listener+echo", 200, "ready\n")
	check("/livez", 200, "ok\n")
	s.listener("echo").Resume()
	err := errors.New("no route\x1b[31m")
	fault.Store(&err)
	check("/readyz?verbose&exclude=listener+http", 503, "[+] listener echo: ok\n[-] database: no route\\u001b[31m\nnot ready\n")
}

// The files of the dashboard are sent again only if they have changed, and are not in a cache of
// others.
func TestPageFiles(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/dashboard.css": "text/css; charset=utf-8", "/tables.js": "text/javascript; charset=utf-8",
		"/vendor/uplot/uPlot.iife.min.js": "text/javascript; charset=utf-8", "/vendor/uplot/LICENSE.txt": "text/plain; charset=utf-8",
	} {
		a := s.do("GET", path, "")
		if a.status != 200 || a.header.Get("Content-Type") != kind || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: got %d with %v, want 200 with the type %s", path, a.status, a.header, kind)
		}
		if again := s.do("GET", path, "", "If-None-Match", a.header.Get("ETag")); again.status != 304 || again.body != "" {
			t.Errorf("%s again: got %d with %d bytes, want 304", path, again.status, len(again.body))
		}
		if strings.HasPrefix(path, "/vendor") {
			continue
		}
		for _, forbidden := range []string{"http://", "https://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "<style", " style=", " onclick="} {
			if strings.Contains(a.body, forbidden) {
				t.Errorf("%s: got %s in it, want none", path, forbidden)
			}
		}
	}
	noPage := newTestServer(t, adminhttp.Options{NoPage: true})
	if a := noPage.do("GET", "/", ""); a.status != 404 {
		t.Errorf("with NoPage: got %d, want 404", a.status)
	}
}
