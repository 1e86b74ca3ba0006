package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

func TestWebSocket(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	a, b := srv.webSocket(), srv.webSocket()
	a.request("subscribe", "x")
	a.expect(`{"ack":true}`)
	b.write(` {"action":"publish","id":7,"data":{"topic":"x","event":"e","message_id":"","data":"<b>"}} `)
	b.expect(`{"published":1,"id":7}`)
	a.expect(delivered("x", `"<b>"`))
	a.ws.CloseNow()
	waitFor(t, "detached session", func() bool { return srv.attachedSessions() == 1 })
	srv.publish("x", 1)
	c := srv.webSocket()
	c.request("attach", a.token)
	c.expect(delivered("x", "1"), `{"ack":true}`)
	d := srv.webSocket()
	d.request("attach", a.token)
	d.expect(`{"ack":true}`)
	const takenOver = "the session was attached to another connection"
	c.expect(`{"error":"`+takenOver+`"}`, "1008 "+takenOver)
	if n := srv.gateway.Stats().WebSockets; n != 4 {
		t.Errorf("got %d WebSockets, want 4", n)
	}
}

// Messages arrive whole whatever the length of their frames is, in both directions.
func TestWebSocketMessageSizes(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s := srv.webSocket()
	s.request("subscribe", "x")
	s.expect(`{"ack":true}`)
	for _, n := range []int{1, 40, 60, 300, 500, 3900, 4096, 40_000, 65_500, 65_536, 200_000} {
		data := `"` + strings.Repeat("é", n/2) + `"`
		s.write(`{"action":"publish","data":{"topic":"x","event":"e","message_id":"","data":` + data + `}}`)
		got := []string{s.read(), s.read()}
		slices.Sort(got)
		if diff := cmp.Diff([]string{`{"published":1}`, delivered("x", data)}, got); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", n, diff)
		}
	}
}

// An idle WebSocket has one goroutine of the gateway, and until it is parked one of the topic
// server.
func TestWebSocketGoroutines(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	before := runtime.NumGoroutine()
	const n = 50
	for range n {
		srv.rawSocket()
	}
	want := n + n/5
	if runtime.GOOS != "linux" { // where connections are not parked
		want += n
	}
	waitFor(t, fmt.Sprintf("at most %d goroutines for %d WebSockets", want, n), func() bool { return runtime.NumGoroutine()-before <= want })
}

func TestWebSocketBadMessages(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxMessage: 1000})
	const badMessage = "1003 a message must be one JSON object in a text frame"
	for text, want := range map[string]string{
		"PUBLISH":                           badMessage,
		"":                                  badMessage,
		"{}\x00PUBLISH":                     badMessage,
		"[]":                                badMessage,
		`{"a":` + strings.Repeat(" ", 2000): "1009 ",
		`{"action":"attach","data":"1"}`:    `{"error":"bad input: attach: unknown or expired session"}`,
	} {
		s := srv.webSocket()
		s.write(text)
		if got := s.read(); !strings.HasPrefix(got, want) {
			t.Errorf("%.20q: got %s, want %s", text, got, want)
		}
	}
	s := srv.webSocket()
	s.ws.Write(t.Context(), websocket.MessageBinary, []byte("{}"))
	s.expect(badMessage)
}

// A WebSocket whose browser does not read is closed with a reason, and its session can be resumed.
func TestSlowWebSocket(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{MaxBuffered: 150_000}, web.Options{MaxBuffered: 200_000})
	s := srv.webSocket()
	s.request("subscribe", "x")
	s.expect(`{"ack":true}`)
	big := strings.Repeat("x", 100_000)
	for i := 0; srv.gateway.Stats().Slow == 0; i++ {
		if i == 2000 {
			t.Fatal("got no slow browser after 2000 messages, want one")
		}
		srv.publish("x", big)
		time.Sleep(time.Millisecond)
	}
	got := ""
	for got = s.read(); strings.HasPrefix(got, `{"timestamp"`); got = s.read() {
	}
	if got != "1013 the browser reads too slowly" {
		t.Errorf("close frame: got %s, want 1013 with the reason", got)
	}
	waitFor(t, "detached session", func() bool { return srv.attachedSessions() == 0 })
	resumed := srv.webSocket()
	resumed.request("attach", s.token)
	for got = resumed.read(); got != `{"ack":true}`; got = resumed.read() {
		if !strings.HasPrefix(got, `{"timestamp"`) && !strings.HasPrefix(got, `{"lost_bytes"`) {
			t.Fatalf("after attach: got %.100s, want messages, lost_bytes or ack", got)
		}
	}
}

func TestOrigins(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{Origins: []string{"*.example.org", "Partner.test:8080"}})
	host := strings.TrimPrefix(srv.http.URL, "http://")
	for _, tt := range []struct {
		origin, site string
		want         bool
	}{
		{"", "", true}, {"", "same-origin", true}, {"", "none", true}, {"", "cross-site", false}, {"", "same-site", false},
		{"http://" + host, "same-origin", true}, {"http://evil.test", "", false}, {"null", "", false}, {"::", "", false},
		{"https://a.example.org", "cross-site", true}, {"https://example.org", "", false}, {"http://partner.test:8080", "", true},
		{"http://partner.test", "", false}, {"http://a.example.org.evil.test", "", false},
	} {
		h := http.Header{}
		for k, v := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
			if v != "" {
				h.Set(k, v)
			}
		}
		ws, _, err := websocket.Dial(t.Context(), srv.url()+"ws", &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			ws.CloseNow()
		}
		s := srv.events("topic=a", h)
		s.cancel()
		if (err == nil) != tt.want || (s.resp.StatusCode == 200) != tt.want {
			t.Errorf("origin %q, site %q: got %v and %s, want allowed: %v", tt.origin, tt.site, err, s.resp.Status, tt.want)
		}
	}
}

func TestAdmission(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxBrowsers: 1, Authorize: func(r *http.Request) error {
		switch r.Header.Get("X-User") {
		case "":
			return fmt.Errorf("%w: no user", web.ErrUnauthenticated)
		case "eve":
			return errors.New("no access")
		}
		return nil
	}})
	status := func(user string) int {
		return srv.events("topic=a", http.Header{"X-User": {user}}).resp.StatusCode
	}
	for _, tt := range []struct {
		user string
		want int
	}{{"", 401}, {"eve", 403}, {"bob", 200}, {"bob", 503}} {
		if got := status(tt.user); got != tt.want {
			t.Errorf("user %q: got status %d, want %d", tt.user, got, tt.want)
		}
	}
}

// Shutdown closes the connections with a reason, and returns when they have ended.
func TestShutdown(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s, e := srv.webSocket(), srv.events("topic=a", nil)
	e.expect(`session {"resumed":false}`)
	done := make(chan error)
	go func() { done <- srv.gateway.Shutdown(context.Background()) }()
	s.expect("1001 the server is shutting down")
	e.expect(`notice {"error":"the server is shutting down"}`, "EOF")
	if err := <-done; err != nil {
		t.Errorf("Shutdown: got %v, want no error", err)
	}
	if n := srv.gateway.Stats().Browsers; n != 0 {
		t.Errorf("after Shutdown: got %d browsers, want 0", n)
	}
	if got := srv.events("topic=a", nil).resp.StatusCode; got != 503 {
		t.Errorf("events after Shutdown: got status %d, want 503", got)
	}
	if _, _, err := websocket.Dial(t.Context(), srv.url()+"ws", nil); err == nil {
		t.Error("WebSocket after Shutdown: got no error, want one")
	}
}

// Connections end with a reason when the topic server stops.
func TestTopicServerStops(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s, e := srv.webSocket(), srv.events("topic=a", nil)
	e.expect(`session {"resumed":false}`)
	srv.listener.Stop()
	s.expect("1001 the topic server has closed the connection")
	e.expect(`notice {"error":"the topic server has closed the connection"}`, "EOF")
	if got := srv.events("topic=a", nil).resp.StatusCode; got != 502 {
		t.Errorf("events without a topic server: got status %d, want 502", got)
	}
}

// A WebSocket whose browser does not answer pings is closed.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	srv := newTestServer(t, pubsub.Options{}, web.Options{KeepAlive: 200 * time.Millisecond})
	srv.webSocket() // it answers pings only while it reads
	waitFor(t, "disconnect of the browser", func() bool { return srv.gateway.Stats().Browsers == 0 })
	for limit := 200 * time.Millisecond; ; limit *= 4 { // an answer may take long on a busy machine
		srv = newTestServer(t, pubsub.Options{}, web.Options{KeepAlive: limit})
		s := srv.webSocket()
		s.ws.CloseRead(t.Context())
		time.Sleep(3*limit + limit/2)
		n := srv.gateway.Stats().Browsers
		if n == 1 {
			return
		}
		if limit > 10*time.Second {
			t.Fatalf("got %d browsers, want 1 that answers pings", n)
		}
	}
}

func TestOptions(t *testing.T) {
	_, err := web.NewGateway(web.Options{MaxMessage: -1, MaxBuffered: -1, MaxTopics: -1, WriteTimeout: -1, Origins: []string{"["}})
	for _, f := range []string{"Dial", "MaxMessage", "MaxBuffered", "MaxTopics", "WriteTimeout", "Origins"} {
		if err == nil || !strings.Contains(err.Error(), f) {
			t.Errorf("NewGateway: got %v, want it to contain %s", err, f)
		}
	}
}
