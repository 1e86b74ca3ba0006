package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

// accessRequest is a request for events as it arrives at the gateway, which listens on local.
type accessRequest struct {
	local, host, origin, site, forwarded string
}

// refusal returns the error with which the gateway refuses a request, "" if it accepts it.
func refusal(t *testing.T, opts web.Options, r accessRequest) string {
	t.Helper()
	opts.Dial = func(context.Context) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }
	gw, err := web.NewGateway(opts)
	if err != nil {
		t.Fatalf("NewGateway: got %v, want no error", err)
	}
	req := httptest.NewRequest("GET", "/events?topic=a", nil)
	local, err := net.ResolveTCPAddr("tcp", r.local)
	if err != nil {
		t.Fatal(err)
	}
	req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, net.Addr(local)))
	req.Host = r.host
	for k, v := range map[string]string{"Origin": r.origin, "Sec-Fetch-Site": r.site, "X-Forwarded-Host": r.forwarded} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	gw.ServeHTTP(w, req)
	if w.Code == http.StatusBadGateway { // from Dial: the request was accepted
		return ""
	}
	var answer struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusForbidden || answer.Error == "" {
		t.Fatalf("%+v: got status %d and %q, want 403 with an error", r, w.Code, w.Body)
	}
	return answer.Error
}

const (
	loopback = "127.0.0.1:8083"
	public   = "192.0.2.1:8083"
)

// Behind an ordinary TLS proxy, which may add the port to Host, omit it or rewrite Host, the
// gateway's own pages may connect, and pages of other origins may not.
func TestOriginsBehindProxies(t *testing.T) {
	for _, tt := range []struct {
		r    accessRequest
		opts web.Options
		want string // part of the refusal
	}{
		{accessRequest{public, "t.example.org", "https://t.example.org", "", ""}, web.Options{}, ""},
		{accessRequest{public, "t.example.org:443", "https://t.example.org", "", ""}, web.Options{}, ""},
		{accessRequest{public, "t.example.org:80", "http://t.example.org", "", ""}, web.Options{}, ""},
		{accessRequest{public, "t.example.org", "https://t.example.org:8443", "", ""}, web.Options{}, ""},
		{accessRequest{public, "T.example.org:8443", "https://t.example.org:8443", "", ""}, web.Options{}, ""},
		{accessRequest{public, "10.0.0.7:8083", "https://t.example.org", "", "t.example.org"}, web.Options{}, ""},
		{accessRequest{loopback, "127.0.0.1:8083", "https://t.example.org", "", "t.example.org, inner"}, web.Options{}, ""},
		{accessRequest{public, "backend", "https://t.example.org", "same-origin", ""}, web.Options{}, ""},
		{accessRequest{public, "backend", "https://t.example.org", "", ""}, web.Options{Origins: []string{"t.example.org"}}, ""},
		{accessRequest{public, "t.example.org:444", "https://t.example.org", "", ""}, web.Options{}, `add "t.example.org" to Options.Origins (ranchd --allowed-origin)`},
		{accessRequest{public, "t.example.org:443", "http://t.example.org", "", ""}, web.Options{}, "may not connect"},
		{accessRequest{public, "t.example.org", "https://t.example.org:8443", "same-site", ""}, web.Options{}, "may not connect"},
		{accessRequest{public, "backend", "https://t.example.org", "", ""}, web.Options{}, `pages of the origin "https://t.example.org" may not connect to the host "backend": if they should, add "t.example.org" to Options.Origins (ranchd --allowed-origin)`},
		{accessRequest{public, "t.example.org", "https://evil.test", "", "t.example.org"}, web.Options{}, "may not connect"},
		{accessRequest{public, "t.example.org", "https://evil.test", "cross-site", ""}, web.Options{}, "may not connect"},
		{accessRequest{public, "", "https://evil.test", "", ""}, web.Options{}, "may not connect"},
		{accessRequest{public, "t.example.org", "null", "", ""}, web.Options{}, "without an origin"},
	} {
		if got := refusal(t, tt.opts, tt.r); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%+v, origins %q: got %q, want %q", tt.r, tt.opts.Origins, got, tt.want)
		}
	}
}

// A page whose name resolves to a loopback address names a foreign host, which a gateway on a
// loopback address does not serve unless it is allowed.
func TestDNSRebinding(t *testing.T) {
	const remedy = "add it to Options.Hosts (ranchd --allowed-host)"
	for _, tt := range []struct {
		local, host string
		opts        web.Options
		want        string
	}{
		{loopback, "127.0.0.1:8083", web.Options{}, ""}, {loopback, "127.9.8.7", web.Options{}, ""}, {loopback, "LOCALHOST:1", web.Options{}, ""},
		{loopback, "localhost.", web.Options{}, ""}, {"[::1]:8083", "[::1]:8083", web.Options{}, ""}, {"[::1]:8083", "[::1]", web.Options{}, ""}, {loopback, "", web.Options{}, ""},
		{loopback, "evil.test:8083", web.Options{}, `the host "evil.test:8083" is not served on a loopback address: if it is a name of this server, ` + remedy},
		{loopback, "127.0.0.1.evil.test", web.Options{}, remedy}, {loopback, "localhost.evil.test", web.Options{}, remedy}, {"[::1]:8083", "evil.test", web.Options{}, remedy},
		{loopback, "192.0.2.1:8083", web.Options{}, remedy}, {loopback, "0.0.0.0:8083", web.Options{}, remedy},
		{loopback, "t.example.org:443", web.Options{Hosts: []string{"t.example.org"}}, ""}, {loopback, "t.example.org", web.Options{Origins: []string{"*.example.org"}}, ""},
		{loopback, "t.example.org:8443", web.Options{Hosts: []string{"t.example.org"}}, remedy}, {loopback, "any.test", web.Options{Hosts: []string{"*"}}, ""},
		{public, "any.test", web.Options{}, ""}, {public, "any.test", web.Options{Hosts: []string{"t.example.org"}}, `the host "any.test" is not served: `}, {public, "localhost", web.Options{Hosts: []string{"t.example.org"}}, ""},
	} {
		for _, origin := range []string{"", "http://" + tt.host} {
			if tt.host == "" {
				origin = ""
			}
			got := refusal(t, tt.opts, accessRequest{local: tt.local, host: tt.host, origin: origin})
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("host %q on %s, origin %q, %q: got %q, want %q", tt.host, tt.local, origin, tt.opts.Hosts, got, tt.want)
			}
		}
	}
}

// Topic names are checked before they are encoded as JSON, which would replace invalid bytes.
func TestInvalidUTF8IsRefusedAtEntry(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	for _, query := range []string{"topic=%ff", "topic=a&topic=caf%e9", "topic=%ed%a0%80", "topic=a%01"} {
		s := srv.events(query, nil)
		if s.resp.StatusCode != 400 && s.resp.StatusCode != 403 {
			t.Errorf("%s: got status %d, want 400 or 403", query, s.resp.StatusCode)
		}
		s.cancel()
	}
	a, b := srv.webSocket(), srv.webSocket()
	a.request("subscribe", ">")
	a.expect(`{"ack":true}`)
	b.write("{\"action\":\"publish\",\"data\":{\"topic\":\"x\",\"data\":\"caf\xe9\"}}")
	b.expect(`{"error":"bad input: the request is not a valid JSON object: invalid UTF-8: byte 0xe9"}`)
	srv.publish("x", "é")
	a.expect(delivered("x", `"é"`))
}

// invalidServer is a topic server that sends a message with invalid UTF-8.
func invalidServer(t *testing.T) web.Options {
	return web.Options{Dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			io.WriteString(server, "{\"timestamp\":[1,2,3],\"token\":\"1\"}\x01{\"timestamp\":[1,2,3],\"topic\":\"caf\xe9\"}\x01")
			io.Copy(io.Discard, server)
			server.Close()
		}()
		return client, nil
	}}
}

// A browser does not receive invalid UTF-8 even if the topic server sends it.
func TestInvalidUTF8OfTheTopicServer(t *testing.T) {
	t.Parallel()
	gw, err := web.NewGateway(invalidServer(t))
	if err != nil {
		t.Fatalf("NewGateway: got %v, want no error", err)
	}
	srv := httptest.NewServer(gw)
	defer srv.Close()
	ws, _, err := websocket.Dial(t.Context(), srv.URL+"/ws", nil)
	if err != nil {
		t.Fatalf("Dial: got %v, want no error", err)
	}
	defer ws.CloseNow()
	s := &testSocket{t: t, ws: ws}
	s.expect(`{"timestamp":T,"token":"1"}`, `{"timestamp":T,"topic":"caf`+"\uFFFD"+`"}`)
	if err := gw.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: got %v, want no error", err)
	}
}

// A topic that a request repeats is subscribed to once.
func TestRepeatedTopics(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxTopics: 2})
	srv.publish("a", 1, 2)
	s := srv.events("history=16"+strings.Repeat("&topic=a", 100)+"&topic=b", nil)
	s.expect(`session {"resumed":false}`, delivered("a", "1"), delivered("a", "2"))
	srv.publish("b", 3)
	s.expect(delivered("b", "3"))
}

// The histories of many topics arrive completely, although they exceed what the gateway keeps.
func TestLongHistories(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxBuffered: 100_000})
	var query strings.Builder
	for i := range 50 {
		fmt.Fprintf(&query, "&topic=t%d", i)
		srv.publish(fmt.Sprint("t", i), strings.Repeat("a", 20_000), i)
	}
	s := srv.events("history=2"+query.String(), nil)
	s.expect(`session {"resumed":false}`)
	for i := range 50 {
		s.expect(delivered(fmt.Sprint("t", i), `"`+strings.Repeat("a", 20_000)+`"`), delivered(fmt.Sprint("t", i), fmt.Sprint(i)))
	}
	srv.publish("t49", "live")
	s.expect(delivered("t49", `"live"`))
}

// A request with a body is answered at once and its connection closed, although the body does not
// arrive.
func TestRequestWithoutItsBody(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	for _, head := range []string{
		"GET /topics/events?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
		"POST /topics/events?topic=a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST /topics/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
	} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(srv.http.URL, "http://"))
		if err != nil {
			t.Fatalf("Dial: got %v, want no error", err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(nc, head)
		r := bufio.NewReader(nc)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%q: got %v, %v, want status 413", head, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%q: got %v after the answer, want EOF", head, err)
		}
	}
}

// A stream outlives the time limit that http.Server has for reading requests.
func TestEventsOutliveReadTimeout(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	h := httptest.NewUnstartedServer(srv.gateway)
	h.Config.ReadTimeout = 100 * time.Millisecond
	h.Start()
	defer h.Close()
	resp, err := http.Get(h.URL + "/events?topic=a")
	if err != nil {
		t.Fatalf("Get: got %v, want no error", err)
	}
	defer resp.Body.Close()
	s := &eventSource{t: t, resp: resp, r: bufio.NewReader(resp.Body)}
	s.expect(`session {"resumed":false}`)
	time.Sleep(400 * time.Millisecond)
	srv.publish("a", 1)
	s.expect(delivered("a", "1"))
	srv.gateway.Shutdown(t.Context())
}

// The data that waits for all browsers is limited, and what is left is returned.
func TestMaxBufferedTotal(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxBufferedTotal: 1 << 20, WriteTimeout: time.Minute})
	const browsers = 20
	for range browsers {
		s := srv.webSocket()
		s.request("subscribe", "x")
		s.expect(`{"ack":true}`)
	}
	big := strings.Repeat("x", 10_000)
	waitFor(t, "slow browsers", func() bool { srv.publish("x", big); return srv.gateway.Stats().Slow > browsers/2 })
	waitFor(t, "the end of the slow browsers", func() bool { return srv.gateway.Stats().Browsers < browsers/2 })
	fast := srv.webSocket()
	fast.request("subscribe", "y")
	fast.expect(`{"ack":true}`)
	srv.publish("y", 1)
	fast.expect(delivered("y", "1"))
}

// A message of a browser that has not arrived completely takes memory as it arrives, within the
// limit of the gateway.
func TestIncompleteMessages(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxBufferedTotal: 400_000})
	first := srv.webSocket()
	w, err := first.ws.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatalf("Writer: got %v, want no error", err)
	}
	for range 8 {
		w.Write([]byte(strings.Repeat(" ", 10_000)))
	}
	second := srv.webSocket()
	if w, err = second.ws.Writer(t.Context(), websocket.MessageText); err != nil {
		t.Fatalf("Writer: got %v, want no error", err)
	}
	for range 8 {
		w.Write([]byte(strings.Repeat(" ", 10_000)))
	}
	got := make(chan string, 2)
	for _, s := range []*testSocket{first, second} { // which of them is refused depends on what arrives first
		go func() { got <- s.read() }()
	}
	if m, want := <-got, "1013 too many messages are incomplete"; m != want {
		t.Errorf("the end of one browser: got %q, want %q", m, want)
	}
	first.ws.CloseNow()
	second.ws.CloseNow()
	<-got
	small := srv.webSocket()
	small.request("subscribe", "x")
	small.expect(`{"ack":true}`)
}

// Options.Dial can pass the address of the browser on to the topic server.
func TestBrowserAddr(t *testing.T) {
	got := make(chan net.Addr, 1)
	gw, err := web.NewGateway(web.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		got <- web.BrowserAddr(ctx)
		return nil, io.ErrUnexpectedEOF
	}})
	if err != nil {
		t.Fatalf("NewGateway: got %v, want no error", err)
	}
	for _, path := range []string{"/ws", "/events?topic=a"} {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = "192.0.2.7:4000"
		gw.ServeHTTP(httptest.NewRecorder(), r)
		if addr := <-got; addr == nil || addr.String() != "192.0.2.7:4000" {
			t.Errorf("%s: got %v, want 192.0.2.7:4000", path, addr)
		}
	}
}
