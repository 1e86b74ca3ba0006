package adminhttp_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// No request makes the handler panic, and every answer of a command is JSON.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][4]string{
		{"GET", "/connections", "filter=listener%3Decho&sort=read&reverse&limit=5", ""}, {"GET", "/sources", "limit=3", ""},
		{"POST", "/commands/limit", "", `{"args":["echo","idle-timeout=5m"]}`}, {"POST", "/commands/kill", "", `{"args":["age>5m"],"flags":{"yes":true}}`},
		{"POST", "/commands/sessions", "", `{"flags":{"limit":1e3,"list":false}}`}, {"POST", "/session", "", `{"ticket":"ticket_x"}`},
		{"GET", "/readyz", "verbose&exclude=listener+echo", ""}, {"GET", "/connection", "arg=7", ""}, {"DELETE", "/session", "", ""},
		{"GET", "/vendor/uplot/../../dashboard.html", "", ""}, {"POST", "/commands/%2e%2e", "%zz", `[`},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	server := new(ranch.Server)
	h, err := adminhttp.New(adminhttp.Options{Server: server, Commands: admin.Commands(admin.Options{Server: server}), Logger: discardLogger,
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) {
			return shell.User{Name: "alice", Role: shell.Operator}, nil
		}})
	if err != nil {
		f.Fatal(err)
	}
	a, b := net.Pipe()
	f.Cleanup(func() { a.Close(); b.Close() })
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		for _, slow := range []string{"/events", "/top", "/profile", "/trace", "/gc", "/commands/goroutines", "/goroutines"} {
			if strings.Contains(path, slow) {
				return
			}
		}
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "localhost", Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(h.ConnContext(t.Context(), a)))
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q %q %q: got %q, want JSON", method, path, query, body, w.Body)
		}
	})
}
