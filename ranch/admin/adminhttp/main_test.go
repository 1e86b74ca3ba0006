package adminhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout limits each wait of a test.
const timeout = time.Minute

var discardLogger = slog.New(slog.DiscardHandler)

// operatorToken is the token of an operator; "viewer" is that of a viewer.
const operatorToken = "operator"

// testServer is a server with the TCP listener "echo" and the handler on the TCP listener "http".
type testServer struct {
	t       testing.TB
	server  *ranch.Server
	handler *adminhttp.Handler
	url     string // without a slash at the end
	client  *http.Client

	mu    sync.Mutex
	audit []shell.AuditEntry
}

// newTestServer starts a server. Each setUp is called with the handler before its listener is
// started.
func newTestServer(t testing.TB, o adminhttp.Options, setUp ...func(*adminhttp.Handler)) *testServer {
	t.Helper()
	s := &testServer{t: t, server: new(ranch.Server), client: &http.Client{Transport: &http.Transport{}, Timeout: timeout}}
	o.Server, o.Version, o.Logger = s.server, "v1.2.3", discardLogger
	commands := slices.DeleteFunc(admin.Commands(admin.Options{Server: s.server, Version: "v1.2.3", Protected: []string{"http"}}), func(c shell.Command) bool {
		return slices.ContainsFunc(o.Commands, func(own shell.Command) bool { return own.Name == c.Name })
	})
	o.Commands = append(commands, o.Commands...)
	if o.Token == nil {
		o.Token = testToken
	}
	o.Audit = func(e shell.AuditEntry) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.audit = append(s.audit, e)
	}
	h, err := adminhttp.New(o)
	if err != nil {
		t.Fatalf("New: got %v, want no error", err)
	}
	s.handler = h
	for _, f := range setUp {
		f(h)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		s.client.CloseIdleConnections()
		s.server.Drain(ctx)
		if err := h.Close(ctx); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
	})
	s.start("echo", transport.TCP{}, "127.0.0.1:0", echo.Protocol{})
	l := s.start("http", transport.TCP{}, "127.0.0.1:0", h)
	s.url = "http://" + l.Addr().String()
	return s
}

// audited returns the audited calls so far.
func (s *testServer) audited() []shell.AuditEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.audit)
}

func testToken(_ context.Context, _ *transport.Conn, token string) (shell.User, error) {
	switch token {
	case operatorToken:
		return shell.User{Name: "token ops", Role: shell.Operator}, nil
	case "viewer":
		return shell.User{Name: "token bob", Role: shell.Viewer}, nil
	}
	return shell.User{}, access.ErrDenied
}

func (s *testServer) start(name string, tr transport.Transport, addr string, p interface {
	Serve(context.Context, *transport.Conn) error
}) *ranch.Listener {
	s.t.Helper()
	l, err := s.server.StartListener(name, tr, ranch.Options{
		Addr: addr, Logger: discardLogger, MaxConnections: 20_000, ShutdownTimeout: 100 * time.Millisecond,
	}, p)
	if err != nil {
		s.t.Fatalf("StartListener: got %v, want no error", err)
	}
	return l
}

func (s *testServer) listener(name string) *ranch.Listener {
	s.t.Helper()
	l, err := s.server.Listener(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// dial connects to the echo listener and exchanges n bytes.
func (s *testServer) dial(n int) net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.listener("echo").Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(timeout))
	if n > 0 {
		if _, err := io.WriteString(nc, strings.Repeat("x", n)); err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, n)); err != nil {
			s.t.Fatal(err)
		}
	}
	return nc
}

// answer is an answer with a body in JSON or text.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. header is in pairs; the pair "Host" sets the host.
func (s *testServer) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" || method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: got %v, want an answer", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: got %v, want a body", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// run runs a command as an operator.
func (s *testServer) run(name, body string) answer {
	s.t.Helper()
	return s.do("POST", "/commands/"+name, body, "Authorization", "Bearer "+operatorToken)
}

// result decodes an answer of a command.
func (a answer) result(t testing.TB, v any) {
	t.Helper()
	var r struct{ Result json.RawMessage }
	if a.status != http.StatusOK {
		t.Fatalf("got status %d with %s, want a result", a.status, a.body)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	if err := d.Decode(&r); err != nil {
		t.Fatalf("got %s, want JSON: %v", a.body, err)
	}
	if err := json.Unmarshal(r.Result, v); err != nil {
		t.Fatalf("got %s, want %T: %v", r.Result, v, err)
	}
}

func (s *testServer) waitFor(what string, ok func() bool) {
	s.t.Helper()
	waitFor(s.t, what, ok)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout after %v, want %s", timeout, what)
		}
	}
}
