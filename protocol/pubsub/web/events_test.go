package web_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

func TestEvents(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	srv.publish("a", 1, 2, 3)
	s := srv.events("topic=a&last=1", nil)
	if got := s.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: got %q, want text/event-stream", got)
	}
	s.expect(`session {"resumed":false}`, delivered("a", "3"))
	both := srv.events("topic=a&topic=b.*", nil)
	both.expect(`session {"resumed":false}`)
	srv.publish("a", 4)
	srv.publish("b.x", 5)
	both.expect(delivered("a", "4"), delivered("b.x", "5"))
	h := srv.events("topic=a&history=2", nil)
	h.expect(`session {"resumed":false}`, delivered("a", "3"), delivered("a", "4"))
}

// A browser that reconnects with the id of its last event receives the messages that were in flight
// when the connection broke and those published since, each once.
func TestEventsResume(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s := srv.events("topic=a", nil)
	s.expect(`session {"resumed":false}`)
	srv.publish("a", 1, 2, 3)
	s.expect(delivered("a", "1"))
	s.cancel()
	waitFor(t, "disconnect of the browser", func() bool { return srv.gateway.Stats().Browsers == 0 && srv.attachedSessions() == 0 })
	srv.publish("a", 4)
	second := srv.reconnect(s, "topic=a&last=1")
	second.expect(`session {"resumed":true}`, delivered("a", "2"), delivered("a", "3"), delivered("a", "4"))
	srv.publish("a", 5)
	second.expect(delivered("a", "5"))

	// The browser reconnects before the gateway has detected the end of the earlier connection.
	srv.publish("a", 6)
	third := srv.reconnect(second, "topic=a")
	third.expect(`session {"resumed":true}`, delivered("a", "6"))
	if rest := readAll(second); !strings.HasSuffix(rest, "EOF") {
		t.Errorf("earlier connection: got %s, want EOF at the end", rest)
	}
	if err := srv.topics.EndSession(strings.Split(third.lastID, ".")[0]); err != nil {
		t.Fatalf("EndSession: got %v, want no error", err)
	}
	third.expect(`refused {"error":"unknown or expired session"}`, "EOF")
	fourth := srv.reconnect(third, "topic=a&last=1")
	fourth.expect(`session {"resumed":false}`, delivered("a", "6"))
	if st := srv.gateway.Stats(); st.Resumed != 2 || st.Streams != 4 {
		t.Errorf("got %+v, want 4 streams, 2 of them resumed", st)
	}
}

// readAll reads the events up to the end of the stream.
func readAll(s *eventSource) string {
	var all []string
	for {
		all = append(all, s.event())
		if e := all[len(all)-1]; e == "EOF" || !strings.Contains(e, "{") {
			return strings.Join(all, "\n")
		}
	}
}

// A notice reports the messages that are no longer in the replay buffer.
func TestEventsLost(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s := srv.events("topic=a", nil)
	s.expect(`session {"resumed":false}`)
	for i := range 100 {
		srv.publish("a", i)
	}
	s.expect(delivered("a", "0"))
	first := s.lastID
	for i := range 99 { // until the gateway has them
		s.expect(delivered("a", fmt.Sprint(i+1)))
	}
	s.cancel()
	waitFor(t, "disconnect of the browser", func() bool { return srv.gateway.Stats().Browsers == 0 })
	s.lastID = first
	resumed := srv.reconnect(s, "topic=a")
	resumed.expect(`session {"resumed":true}`, `notice {"lost_events":35}`, delivered("a", "36"))
}

// Line ends in a message do not end the data field of its event.
func TestEventsWithNewlines(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	s := srv.events("topic=a", nil)
	s.expect(`session {"resumed":false}`)
	nc, err := srv.mem.Dial(t.Context(), "topics")
	if err != nil {
		t.Fatalf("Dial: got %v, want no error", err)
	}
	defer nc.Close()
	io.WriteString(nc, "PUBLISH\x00{\"topic\":\"a\",\n\n\"event\":\"e\",\r\"data\":\r\n1}\x00")
	s.expect(`{"timestamp":T,"topic":"a",  "event":"e", "data":  1}`)
}

func TestEventsRefused(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{Authorize: func(_ *pubsub.Client, _ pubsub.Action, topic string) error {
		if topic == "secret" {
			return errors.New("no access")
		}
		return nil
	}}, web.Options{MaxTopics: 2})
	for query, want := range map[string]int{
		"": 400, "topic=a&topic=b&topic=c": 400, "topic=a&last=x": 400, "topic=a&history=-1": 400,
		"topic=": 403, "topic=secret": 403, "topic=a&topic=secret": 403, "topic=a.*&last=1": 403,
		"topic=a": 200,
	} {
		s := srv.events(query, nil)
		if s.resp.StatusCode != want {
			t.Errorf("%q: got status %s, want %d", query, s.resp.Status, want)
		}
		if b := make([]byte, 9); want != 200 {
			if _, err := io.ReadFull(s.resp.Body, b); err != nil || string(b) != `{"error":` {
				t.Errorf("%q: got the answer %q, %v, want an error in JSON", query, b, err)
			}
		}
		s.cancel()
	}
	for _, id := range []string{"x", "1.x", ".", "12.5", strings.Repeat("1", 300) + ".1"} {
		s := srv.events("topic=a", http.Header{"Last-Event-Id": {id}})
		s.expect(`session {"resumed":false}`)
		s.cancel()
	}
}

// An event stream whose browser does not read is closed.
func TestSlowEvents(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{MaxBuffered: 64 << 10, WriteTimeout: 500 * time.Millisecond})
	s := srv.events("topic=a", nil)
	s.expect(`session {"resumed":false}`)
	big := strings.Repeat("x", 30_000)
	waitFor(t, "disconnect of the slow browser", func() bool { srv.publish("a", big); return srv.gateway.Stats().Browsers == 0 })
	for range 100_000 {
		if e := s.event(); !strings.Contains(e, big) {
			return // a notice, or the end in the middle of an event
		}
	}
	t.Error("got 100,000 events, want the stream to end")
}

// A stream whose browser does not read is closed at once when its queue is full, and its memory is
// freed, although the write to the browser still waits.
func TestSlowEventsAreClosedAtOnce(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{WriteTimeout: time.Minute, KeepAlive: -1})
	s := srv.events("topic=a", nil)
	s.expect(`session {"resumed":false}`)
	big := strings.Repeat("x", 30_000)
	waitFor(t, "disconnect of the slow browser", func() bool { srv.publish("a", big); return srv.gateway.Stats().Browsers == 0 })
	if n := srv.gateway.Stats().Slow; n != 1 {
		t.Errorf("got %d slow browsers, want 1", n)
	}
}

// The replay buffers of all sessions together are limited; the oldest are evicted.
func TestReplayTotal(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{}, web.Options{})
	big := strings.Repeat("x", 50_000)
	var first, last *eventSource
	for i := range 400 { // 20 MB
		s := srv.events(fmt.Sprint("topic=t", i), nil)
		s.expect(`session {"resumed":false}`)
		srv.publish(fmt.Sprint("t", i), 1, big)
		s.expect(delivered(fmt.Sprint("t", i), "1"))
		id := s.lastID
		s.expect(delivered(fmt.Sprint("t", i), `"`+big+`"`))
		s.lastID = id
		if i == 0 {
			first = s
		}
		last = s
	}
	first.cancel()
	last.cancel()
	waitFor(t, "disconnect of two browsers", func() bool { return srv.gateway.Stats().Browsers == 398 })
	srv.reconnect(first, "topic=t0").expect(`session {"resumed":true}`)
	srv.reconnect(last, "topic=t399").expect(`session {"resumed":true}`, delivered("t399", `"`+big+`"`))
}
