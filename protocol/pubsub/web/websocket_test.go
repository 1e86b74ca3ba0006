package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

func asClose(err error, e *websocket.CloseError) bool { return errors.As(err, e) }

func TestWebSocket(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	a, b := tn.sock(), tn.sock()
	a.asks("subscribe", "x")
	a.expects(`{"ack":true}`)
	b.write(` {"action":"publish","id":7,"data":{"topic":"x","event":"e","message_id":"","data":"<b>"}} `)
	b.expects(`{"published":1,"id":7}`)
	a.expects(heard("x", `"<b>"`))
	a.ws.CloseNow()
	waits(t, "the session is detached", func() bool { return tn.attached() == 1 })
	tn.publish("x", 1)
	c := tn.sock()
	c.asks("attach", a.token)
	c.expects(heard("x", "1"), `{"ack":true}`)
	d := tn.sock()
	d.asks("attach", a.token)
	d.expects(`{"ack":true}`)
	const taken = "the session was attached to another connection"
	c.expects(`{"error":"`+taken+`"}`, "1008 "+taken)
	if st := tn.gw.Stats(); st.WebSockets != 4 {
		t.Errorf("%+v", st)
	}
}

func TestWebSocketRefusesWhatIsNoRequest(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{MaxMessage: 1000})
	const no = "1003 a message is one JSON object, as text"
	for text, want := range map[string]string{
		"PUBLISH":                           no,
		"":                                  no,
		"{}\x00PUBLISH":                     no,
		"[]":                                no,
		`{"a":` + strings.Repeat(" ", 2000): "1009 ",
		`{"action":"attach","data":"1"}`:    `{"error":"bad input: attach: unknown or expired session"}`,
	} {
		s := tn.sock()
		s.write(text)
		if got := s.read(); !strings.HasPrefix(got, want) {
			t.Errorf("%.20q: %s, want %s", text, got, want)
		}
	}
	s := tn.sock()
	s.ws.Write(t.Context(), websocket.MessageBinary, []byte("{}"))
	s.expects(no)
}

// A browser that does not read is closed, with a reason, and comes back for the rest.
func TestSlowWebSocket(t *testing.T) {
	tn := found(t, pubsub.Options{MaxBuffered: 150_000}, web.Options{MaxBuffered: 200_000})
	s := tn.sock()
	s.asks("subscribe", "x")
	s.expects(`{"ack":true}`)
	big := strings.Repeat("x", 100_000)
	for i := 0; tn.gw.Stats().Slow == 0; i++ {
		if i == 2000 {
			t.Fatal("a browser that does not read goes on")
		}
		tn.publish("x", big)
		time.Sleep(time.Millisecond)
	}
	got := ""
	for got = s.read(); strings.HasPrefix(got, `{"timestamp"`); got = s.read() {
	}
	if got != "1013 the browser does not keep up" {
		t.Errorf("closed with %s", got)
	}
	waits(t, "the session is detached", func() bool { return tn.attached() == 0 })
	again := tn.sock()
	again.asks("attach", s.token)
	for got = again.read(); got != `{"ack":true}`; got = again.read() {
		if !strings.HasPrefix(got, `{"timestamp"`) && !strings.HasPrefix(got, `{"lost_bytes"`) {
			t.Fatalf("got %.100s", got)
		}
	}
}

func TestOrigins(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{Origins: []string{"*.example.org", "Friend.test:8080"}})
	host := strings.TrimPrefix(tn.web.URL, "http://")
	for _, tt := range []struct {
		origin, site string
		want         bool
	}{
		{"", "", true}, {"", "same-origin", true}, {"", "none", true}, {"", "cross-site", false}, {"", "same-site", false},
		{"http://" + host, "same-origin", true}, {"http://evil.test", "", false}, {"null", "", false}, {"::", "", false},
		{"https://a.example.org", "cross-site", true}, {"https://example.org", "", false}, {"http://friend.test:8080", "", true},
		{"http://friend.test", "", false}, {"http://a.example.org.evil.test", "", false},
	} {
		h := http.Header{}
		for k, v := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
			if v != "" {
				h.Set(k, v)
			}
		}
		ws, _, err := websocket.Dial(t.Context(), tn.url()+"ws", &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			ws.CloseNow()
		}
		s := tn.source("topic=a", h)
		s.cancel()
		if (err == nil) != tt.want || (s.resp.StatusCode == 200) != tt.want {
			t.Errorf("origin %q, site %q: %v, %s", tt.origin, tt.site, err, s.resp.Status)
		}
	}
}

func TestAdmission(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{MaxBrowsers: 1, Authorize: func(r *http.Request) error {
		switch r.Header.Get("X-User") {
		case "":
			return fmt.Errorf("%w: who are you", web.ErrLogin)
		case "eve":
			return errors.New("not you")
		}
		return nil
	}})
	status := func(user string) int {
		return tn.source("topic=a", http.Header{"X-User": {user}}).resp.StatusCode
	}
	for _, tt := range []struct {
		user string
		want int
	}{{"", 401}, {"eve", 403}, {"bob", 200}, {"bob", 503}} {
		if got := status(tt.user); got != tt.want {
			t.Errorf("%q: status %d, want %d", tt.user, got, tt.want)
		}
	}
}

// Shutdown tells browsers, and returns when they have gone.
func TestShutdown(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	s, e := tn.sock(), tn.source("topic=a", nil)
	e.expects(`session {"resumed":false}`)
	done := make(chan error)
	go func() { done <- tn.gw.Shutdown(context.Background()) }()
	s.expects("1001 the server is shutting down")
	e.expects(`notice {"error":"the server is shutting down"}`, "EOF")
	if err := <-done; err != nil || tn.gw.Stats().Browsers != 0 {
		t.Error(err)
	}
	if got := tn.source("topic=a", nil).resp.StatusCode; got != 503 {
		t.Errorf("after that: %d", got)
	}
	if _, _, err := websocket.Dial(t.Context(), tn.url()+"ws", nil); err == nil {
		t.Error("connected after that")
	}
}

func TestTopicServerGoes(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	s, e := tn.sock(), tn.source("topic=a", nil)
	e.expects(`session {"resumed":false}`)
	tn.l.Stop()
	s.expects("1001 the topic server has closed the connection")
	e.expects(`notice {"error":"the topic server has closed the connection"}`, "EOF")
	if got := tn.source("topic=a", nil).resp.StatusCode; got != 502 {
		t.Errorf("after that: %d", got)
	}
}

// Who has vanished is noticed by pings without an answer.
func TestKeepAlive(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{KeepAlive: 20 * time.Millisecond})
	tn.sock() // it answers only while it reads
	waits(t, "the browser is gone", func() bool { return tn.gw.Stats().Browsers == 0 })
	s := tn.sock()
	s.ws.CloseRead(t.Context())
	time.Sleep(100 * time.Millisecond)
	if tn.gw.Stats().Browsers != 1 {
		t.Error("a browser that answers is gone")
	}
}

func TestOptions(t *testing.T) {
	_, err := web.Handler(web.Options{MaxMessage: -1, MaxBuffered: -1, MaxTopics: -1, WriteTimeout: -1, Origins: []string{"["}})
	for _, f := range []string{"Dial", "MaxMessage", "MaxBuffered", "MaxTopics", "WriteTimeout", "Origins"} {
		if err == nil || !strings.Contains(err.Error(), f) {
			t.Errorf("%s is not in %v", f, err)
		}
	}
}
