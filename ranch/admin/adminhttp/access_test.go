package adminhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// Each kind of path requires its role, and wrong credentials are refused, not ignored.
func TestRoles(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics\n") }),
		Token: func(ctx context.Context, conn *transport.Conn, token string) (shell.User, error) {
			if token == "hasty" {
				return shell.User{}, errors.New("too many failed attempts: try again in 5s")
			}
			return testToken(ctx, conn, token)
		}})
	for _, tt := range []struct {
		method, path string
		// the status for: no token on loopback, viewer, operator, a wrong token
		none, viewer, operator, wrong int
	}{
		{"GET", "/", 200, 200, 200, 200},
		{"GET", "/livez", 200, 200, 200, 200},
		{"GET", "/readyz", 200, 200, 200, 200},
		{"GET", "/readyz?verbose", 200, 200, 200, 401},
		{"GET", "/metrics", 200, 200, 200, 401},
		{"GET", "/status", 200, 200, 200, 401},
		{"GET", "/session", 200, 200, 200, 401},
		{"POST", "/commands/status", 200, 200, 200, 401},
		{"POST", "/commands/gc", 401, 403, 200, 401},
		{"GET", "/debug/pprof/", 401, 403, 200, 401},
		{"GET", "/debug/pprof/goroutine?debug=1", 401, 403, 200, 401},
		{"GET", "/debug/pprof/heap?gc=1", 401, 403, 200, 401},
	} {
		for token, want := range map[string]int{"": tt.none, "viewer": tt.viewer, operatorToken: tt.operator, "x": tt.wrong} {
			var header []string
			if token != "" {
				header = []string{"Authorization", "Bearer " + token}
			}
			a := s.do(tt.method, tt.path, map[string]string{"POST": "{}"}[tt.method], header...)
			if a.status != want {
				t.Errorf("%s %s with token %q: got %d %s, want %d", tt.method, tt.path, token, a.status, a.body, want)
			}
			if got := a.header.Get("WWW-Authenticate"); (got == "Bearer") != (want == 401) {
				t.Errorf("%s %s with token %q: got WWW-Authenticate %q with status %d", tt.method, tt.path, token, got, want)
			}
		}
	}
	for _, header := range []string{"Basic b3BzOm9wcw==", "Bearer", "Bearer ", operatorToken, "Bearer login_x", "Bearer ticket_x"} {
		if a := s.do("GET", "/status", "", "Authorization", header); a.status != 401 {
			t.Errorf("Authorization %q: got %d %s, want 401", header, a.status, a.body)
		}
	}
	if a := s.do("GET", "/status", "", "Authorization", "Bearer hasty"); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("too many attempts: got %d, want 429 with Retry-After", a.status)
	}
}

// Pages of other sites, and pages whose name resolves to the server, are refused.
func TestOrigins(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Hosts: []string{"admin.example.org", "*.ops.example.org:8443"}})
	own := strings.TrimPrefix(s.url, "http://")
	for _, tt := range []struct {
		name   string
		header []string
		page   int // status of the page
		api    int
	}{
		{"no browser", nil, 200, 200},
		{"localhost", []string{"Host", "localhost:8084"}, 200, 200},
		{"another address", []string{"Host", "10.1.2.3:8084"}, 200, 200},
		{"rebinding", []string{"Host", "evil.example.org"}, 403, 403},
		{"rebinding, same origin", []string{"Host", "evil.example.org:8084", "Origin", "http://evil.example.org:8084", "Sec-Fetch-Site", "same-origin"}, 403, 403},
		{"configured host", []string{"Host", "admin.example.org"}, 200, 200},
		{"configured pattern", []string{"Host", "a.ops.example.org:8443"}, 200, 200},
		{"pattern, other port", []string{"Host", "a.ops.example.org:1"}, 403, 403},
		{"same origin", []string{"Origin", "http://" + own, "Sec-Fetch-Site", "same-origin"}, 200, 200},
		{"same origin, old browser", []string{"Origin", "http://" + own}, 200, 200},
		{"address bar", []string{"Sec-Fetch-Site", "none"}, 200, 200},
		{"link of another site", []string{"Sec-Fetch-Site", "cross-site"}, 200, 403},
		{"other port of this machine", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 200, 403},
		{"other site", []string{"Origin", "https://evil.example.org", "Sec-Fetch-Site", "cross-site"}, 200, 403},
		{"other site, old browser", []string{"Origin", "https://evil.example.org"}, 200, 403},
		{"no origin", []string{"Origin", "null"}, 200, 403},
		{"page of a configured host", []string{"Origin", "https://admin.example.org", "Sec-Fetch-Site", "cross-site"}, 200, 200},
	} {
		token := []string{"Authorization", "Bearer " + operatorToken}
		if a := s.do("GET", "/", "", tt.header...); a.status != tt.page {
			t.Errorf("%s: page: got %d %s, want %d", tt.name, a.status, a.body, tt.page)
		}
		if a := s.do("GET", "/status", "", tt.header...); a.status != tt.api {
			t.Errorf("%s: GET: got %d %s, want %d", tt.name, a.status, a.body, tt.api)
		}
		if a := s.do("POST", "/commands/gc", "{}", append(token, tt.header...)...); a.status != tt.api {
			t.Errorf("%s: POST: got %d %s, want %d", tt.name, a.status, a.body, tt.api)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"} {
		if a := s.do("POST", "/commands/gc", "{}", "Authorization", "Bearer "+operatorToken, "Content-Type", kind); a.status != 415 {
			t.Errorf("content type %q: got %d, want 415", kind, a.status)
		}
	}
	if a := s.do("POST", "/commands/gc", "{}", "Authorization", "Bearer "+operatorToken, "Content-Type", "application/json; charset=utf-8"); a.status != 200 {
		t.Errorf("content type with a parameter: got %d, want 200", a.status)
	}
}

// Every answer, errors included, has the headers that restrict what a browser does with it.
func TestSecurityHeaders(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	for _, a := range []answer{s.do("GET", "/", ""), s.do("GET", "/dashboard.js", ""), s.do("GET", "/status", ""), s.do("GET", "/none", ""), s.do("GET", "/livez", ""), s.do("GET", "/", "", "Host", "evil.example.org")} {
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s with status %d: got %q, want %q", name, a.status, got, want)
			}
		}
		policy := a.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("policy with status %d: got %q, want a strict one", a.status, policy)
		}
		if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("Access-Control-Allow-Origin: got %q, want none", got)
		}
	}
}

// A ticket is worth one login, with the role of its user.
func TestTickets(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	ticket := s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, time.Minute)
	if a := s.do("GET", "/debug/pprof/", "", "Authorization", "Bearer "+ticket); a.status != 401 {
		t.Errorf("ticket as a token: got %d, want 401", a.status)
	}
	var login struct{ User, Role, Token, Expires, Version string }
	a := s.do("POST", "/session", `{"ticket":"`+ticket+`"}`)
	if err := json.Unmarshal([]byte(a.body), &login); err != nil || a.status != 200 || login.User != "console" || login.Role != "operator" || login.Token == "" || login.Expires == "" {
		t.Fatalf("login: got %d %s, want that of console", a.status, a.body)
	}
	for range 2 {
		if a := s.do("POST", "/session", `{"ticket":"`+ticket+`"}`); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("used ticket: got %d %s, want 401", a.status, a.body)
		}
	}
	token := []string{"Authorization", "Bearer " + login.Token}
	if a := s.do("POST", "/commands/gc", "{}", token...); a.status != 200 {
		t.Errorf("gc with the login: got %d %s, want 200", a.status, a.body)
	}
	if a := s.do("GET", "/session", "", token...); !strings.Contains(a.body, `"role":"operator"`) || !strings.Contains(a.body, `"expires"`) || strings.Contains(a.body, login.Token) {
		t.Errorf("session: got %s, want an operator with an end and without the token", a.body)
	}
	if a := s.do("DELETE", "/session", "", token...); a.status != 204 {
		t.Errorf("logout: got %d %s, want 204", a.status, a.body)
	}
	if a := s.do("GET", "/status", "", token...); a.status != 401 {
		t.Errorf("status after the logout: got %d, want 401", a.status)
	}
	expired := s.handler.Ticket(shell.User{Name: "console", Role: shell.Operator}, -time.Second)
	if a := s.do("POST", "/session", `{"ticket":"`+expired+`"}`); a.status != 401 {
		t.Errorf("expired ticket: got %d, want 401", a.status)
	}
	for range 1000 { // the table is bounded
		ticket = s.handler.Ticket(shell.User{Name: "console", Role: shell.Viewer}, time.Minute)
	}
	if n := adminhttp.Tickets(s.handler); n > 256 {
		t.Errorf("tickets: got %d, want at most 256", n)
	}
	if a := s.do("POST", "/session", `{"ticket":"`+ticket+`"}`); a.status != 200 {
		t.Errorf("the latest ticket of many: got %d %s, want 200", a.status, a.body)
	}
}

// memServer is a handler on an in-memory listener, for tests in a bubble of package synctest.
type memServer struct {
	t      *testing.T
	h      *adminhttp.Handler
	client *http.Client
}

func newMemServer(t *testing.T, o adminhttp.Options) *memServer {
	t.Helper()
	mem, server := new(transport.Mem), new(ranch.Server)
	o.Server, o.Logger = server, discardLogger
	h, err := adminhttp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.StartListener("http", mem, ranch.Options{Addr: "http", Logger: discardLogger}, h)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return mem.Dial(ctx, "http") }}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		l.Stop()
		h.Close(context.Background())
	})
	return &memServer{t, h, &http.Client{Transport: tr}}
}

func (s *memServer) do(method, path, body, token string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A login ends after LoginTime, and its event stream with it.
func TestLoginExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemServer(t, adminhttp.Options{LoginTime: time.Hour})
		_, got := s.do("POST", "/session", `{"ticket":"`+s.h.Ticket(shell.User{Name: "x", Role: shell.Viewer}, time.Minute)+`"}`, "")
		var login struct{ Token string }
		if err := json.Unmarshal([]byte(got), &login); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go func() { // a stream that does not end would make the time of the bubble go on forever
			time.Sleep(2 * time.Hour)
			s.h.Close(context.Background())
		}()
		s.do("GET", "/events?kinds=listeners", "", login.Token)
		if got := time.Since(start); got != time.Hour {
			t.Errorf("event stream: got %v, want an end after 1h", got)
		}
		if status, _ := s.do("GET", "/session", "", login.Token); status != 401 {
			t.Errorf("session after an hour: got %d, want 401", status)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A command may take longer than a request may take to arrive, and its answer longer than
// another's.
func TestLongCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemServer(t, adminhttp.Options{Commands: []shell.Command{{Name: "wait", Role: shell.Viewer, Run: func(ctx context.Context, c *shell.Call) error {
			select {
			case <-time.After(time.Hour):
				c.Return("done")
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}}}})
		for method, path := range map[string]string{"GET": "/wait", "POST": "/commands/wait"} {
			if status, got := s.do(method, path, map[string]string{"POST": "{}"}[method], ""); status != 200 || got != `{"result":"done"}`+"\n" {
				t.Errorf("%s of an hour: got %d %s, want its result", method, status, got)
			}
		}
	})
}

// The users of a Unix socket have the roles that package access gives them, without a token.
func TestUnixPeer(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" && runtime.GOOS != "freebsd" {
		t.Skip("NOT TESTED: this system has no credentials of Unix sockets; run on Linux: go test ./ranch/admin/adminhttp -run UnixPeer")
	}
	peer, err := access.Peer(access.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, adminhttp.Options{Authenticate: access.Combine(peer, access.Anyone(shell.Viewer))})
	path := filepath.Join(t.TempDir(), "http.sock")
	s.start("unix", transport.TCP{}, "unix:"+path, s.handler)
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	s.client = &http.Client{Transport: tr, Timeout: timeout}
	if a := s.do("POST", "/commands/gc", "{}"); a.status != 200 {
		t.Errorf("gc over the Unix socket: got %d %s, want 200", a.status, a.body)
	}
	if a := s.audited(); len(a) != 1 || !strings.HasPrefix(a[0].User.Name, "uid ") {
		t.Errorf("audit: got %+v, want the user of the process", a)
	}
	tr.CloseIdleConnections()
}

// A connection that is refused is refused with a token too.
func TestRefusedConnection(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Authenticate: func(context.Context, *transport.Conn) (shell.User, error) {
		return shell.User{}, access.ErrDenied
	}})
	for path, want := range map[string]int{"/livez": 200, "/status": 403, "/session": 403} {
		if a := s.do("GET", path, "", "Authorization", "Bearer "+operatorToken); a.status != want {
			t.Errorf("%s: got %d, want %d", path, a.status, want)
		}
	}
}

// The handler can be served by another HTTP server, which must use ConnContext.
func TestAnotherServer(t *testing.T) {
	h, err := adminhttp.New(adminhttp.Options{Server: new(ranch.Server), Logger: discardLogger})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	for withContext, want := range map[bool]int{true: 200, false: 500} {
		srv := &http.Server{Handler: h}
		if withContext {
			srv.ConnContext = h.ConnContext
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go srv.Serve(ln)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + ln.Addr().String() + "/session")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with ConnContext %v: got %d, want %d", withContext, resp.StatusCode, want)
		}
		srv.Close()
	}
}

// A client whose address does not show that it is on this machine is a guest.
func TestOnlyLocalClientsAreViewers(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	mem := new(transport.Mem)
	s.start("other", addrTransport{mem, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8084}}, "other", s.handler)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return mem.Dial(ctx, "other") }}
	s.client = &http.Client{Transport: tr, Timeout: timeout}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/readyz?verbose": 401, "/status": 401, "/metrics": 401, "/events": 401, "/openapi.json": 401} {
		if a := s.do("GET", path, ""); a.status != want {
			t.Errorf("%s: got %d %s, want %d", path, a.status, a.body, want)
		}
	}
	tr.CloseIdleConnections()
}

// addrTransport is a transport whose connections have another local address.
type addrTransport struct {
	*transport.Mem
	addr net.Addr
}

func (t addrTransport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := t.Mem.Listen(ctx, addr)
	return addrListener{ln, t.addr}, err
}

type addrListener struct {
	net.Listener
	addr net.Addr
}

func (l addrListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return addrConn{nc, l.addr}, nil
}

type addrConn struct {
	net.Conn
	addr net.Addr
}

func (c addrConn) LocalAddr() net.Addr { return c.addr }
