package adminhttp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"goranch/protocol/shell"
	"goranch/ranch/admin/adminhttp"
)

// raw sends bytes on a connection of its own and returns the status of the answer; 0 is none. It
// reads until the server closes the connection.
func (s *testServer) raw(send func(net.Conn)) (status int, closed bool) {
	s.t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(timeout))
	send(nc)
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err != nil
	}
	io.Copy(io.Discard, resp.Body)
	if resp.Close {
		_, err = r.ReadByte()
	}
	return resp.StatusCode, err != nil
}

// Oversized bodies and headers are refused without reading them, and the server goes on.
func TestOversizedRequests(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{MaxBody: 1000})
	head := "POST /commands/gc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer operator\r\n"
	for name, tt := range map[string]struct {
		send   func(nc net.Conn)
		status int
	}{
		"declared body": {func(nc net.Conn) {
			io.WriteString(nc, head+"Content-Length: 1000000000\r\n\r\n{")
		}, 413},
		"chunked body": {func(nc net.Conn) {
			io.WriteString(nc, head+"Transfer-Encoding: chunked\r\n\r\n")
			go func() {
				for range 100 {
					fmt.Fprintf(nc, "64\r\n%s\r\n", strings.Repeat(" ", 100))
				}
			}()
		}, 413},
		"body of a GET": {func(nc net.Conn) {
			io.WriteString(nc, "GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n")
		}, 413},
		"header": {func(nc net.Conn) {
			go io.WriteString(nc, "GET /status HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 40<<10)+"\r\n\r\n")
		}, 431},
		"many headers": {func(nc net.Conn) {
			go io.WriteString(nc, "GET /status HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat("X: y\r\n", 10_000)+"\r\n")
		}, 431},
		"no HTTP":       {func(nc net.Conn) { io.WriteString(nc, "cap echo 1\r\n\r\n") }, 400},
		"NUL in a path": {func(nc net.Conn) { io.WriteString(nc, "GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n") }, 400},
		"two hosts":     {func(nc net.Conn) { io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n") }, 400},
		"two lengths": {func(nc net.Conn) {
			io.WriteString(nc, head+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x")
		}, 400},
	} {
		status, closed := s.raw(tt.send)
		if status != tt.status || !closed {
			t.Errorf("%s: got status %d and closed %v, want %d and a closed connection", name, status, closed, tt.status)
		}
	}
	if a := s.run("gc", `{"args":[`+strings.Repeat(" ", 900)+`]}`); a.status != 200 {
		t.Errorf("body below the limit: got %d %s, want 200", a.status, a.body)
	}
	if n := len(s.audited()); n != 1 {
		t.Errorf("audit: got %d entries, want only that of the valid request", n)
	}
}

// What clients and peers send never reaches an answer as control characters, and a header can not
// be injected.
func TestNastyText(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	nasty := "%1b%5b2J%0d%0aSet-Cookie:%20x=1%0a%00%c2%9b%3cscript%3e"
	for _, path := range []string{"/" + nasty, "/connections?filter=" + nasty, "/connections?" + nasty + "=1", "/connection?arg=" + nasty, "/events?kinds=" + nasty, "/debug/pprof/" + nasty, "/readyz?verbose&exclude=" + nasty} {
		a := s.do("GET", path, "", "Authorization", "Bearer "+operatorToken)
		for _, c := range []byte(a.body) {
			if c < ' ' && c != '\n' || c == 0x7f {
				t.Errorf("%s: got the control character %#x in %q, want none", path, c, a.body)
				break
			}
		}
		if a.header.Get("Set-Cookie") != "" || a.header.Get("Content-Type") == "text/html" {
			t.Errorf("%s: got headers %v, want no injected one", path, a.header)
		}
	}
}

// A client that sends its header or its body too slowly is disconnected, and holds up no other.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	h, err := adminhttp.New(adminhttp.Options{Logger: discardLogger})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	srv := adminhttp.HTTPServer(h)
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= srv.ReadHeaderTimeout || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 || srv.MaxHeaderBytes > 64<<10 {
		t.Errorf("limits of the server: got %v, %v, %v and %d bytes, want all of them", srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout, srv.MaxHeaderBytes)
	}
	s := newTestServer(t, adminhttp.Options{}, func(h *adminhttp.Handler) {
		adminhttp.SetTimeouts(h, 50*time.Millisecond, 100*time.Millisecond)
	})
	for name, sent := range map[string]string{
		"nothing": "", "header": "GET /status HTTP/1.1\r\nHost: localhost\r\nX: ",
		"body": "POST /commands/gc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer operator\r\nContent-Length: 100\r\n\r\n{",
	} {
		want := map[string]int{"header": 408, "body": 408}[name]
		if status, closed := s.raw(func(nc net.Conn) { io.WriteString(nc, sent) }); status != want && status != 0 || !closed {
			t.Errorf("slow %s: got status %d and closed %v, want %d and a closed connection", name, status, closed, want)
		}
	}
	waitFor(t, "an answer to a request that is in time", func() bool {
		resp, err := s.client.Get(s.url + "/livez")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func TestBadOptions(t *testing.T) {
	run := talk().Run
	_, err := adminhttp.New(adminhttp.Options{
		MaxBody: -1, MaxOutput: -1, MaxStreams: -1, MaxBuffered: -1, Interval: -1, LoginTime: -1, Hosts: []string{"http://x", ""},
		Commands: []shell.Command{{Name: "a", Run: run}, {Name: "a", Run: run}, {Name: "b/{c}", Run: run}, {Name: "nil"}},
	})
	if err == nil {
		t.Fatal("New: got no error, want all faults")
	}
	for _, want := range []string{"MaxBody -1", "MaxOutput -1", "MaxStreams -1", "MaxBuffered -1", "Interval -1ns", "LoginTime -1ns",
		`Hosts "http://x"`, `Hosts ""`, `Commands "a"`, `Commands "b/{c}"`, `Commands "nil"`} {
		if !strings.Contains(err.Error(), "option "+want) {
			t.Errorf("New: got %v, want a fault of %s", err, want)
		}
	}
}
