package adminhttp_test

import (
	"context"
	"errors"
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
