package web_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
)

func TestEvents(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	tn.publish("a", 1, 2, 3)
	s := tn.source("topic=a&last=1", nil)
	if got := s.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
	s.expects(`session {"resumed":false}`, heard("a", "3"))
	both := tn.source("topic=a&topic=b.*", nil)
	both.expects(`session {"resumed":false}`)
	tn.publish("a", 4)
	tn.publish("b.x", 5)
	both.expects(heard("a", "4"), heard("b.x", "5"))
	h := tn.source("topic=a&history=2", nil)
	h.expects(`session {"resumed":false}`, heard("a", "3"), heard("a", "4"))
}

// A browser that comes back with the id of the last event it has got gets the rest: what was on its way
// when the connection broke, and what was published since, each once.
func TestEventsResume(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	s := tn.source("topic=a", nil)
	s.expects(`session {"resumed":false}`)
	tn.publish("a", 1, 2, 3)
	s.expects(heard("a", "1"))
	s.cancel()
	waits(t, "the browser is gone", func() bool { return tn.gw.Stats().Browsers == 0 && tn.attached() == 0 })
	tn.publish("a", 4)
	again := tn.again(s, "topic=a&last=1")
	again.expects(`session {"resumed":true}`, heard("a", "2"), heard("a", "3"), heard("a", "4"))
	tn.publish("a", 5)
	again.expects(heard("a", "5"))

	// It comes back before anybody has noticed that the other connection is dead.
	tn.publish("a", 6)
	third := tn.again(again, "topic=a")
	third.expects(`session {"resumed":true}`, heard("a", "6"))
	if tail := drain(again); !strings.HasSuffix(tail, "EOF") {
		t.Errorf("the other connection goes on: %s", tail)
	}
	if err := tn.s.EndSession(strings.Split(third.last, ".")[0]); err != nil {
		t.Fatal(err)
	}
	third.expects(`refused {"error":"unknown or expired session"}`, "EOF")
	fourth := tn.again(third, "topic=a&last=1")
	fourth.expects(`session {"resumed":false}`, heard("a", "6"))
	if st := tn.gw.Stats(); st.Resumed != 2 || st.Streams != 4 {
		t.Errorf("%+v", st)
	}
}

func drain(s *source) string {
	var all []string
	for {
		all = append(all, s.event())
		if e := all[len(all)-1]; e == "EOF" || !strings.Contains(e, "{") {
			return strings.Join(all, "\n")
		}
	}
}

// Of more than is remembered, it is told how much is lost.
func TestEventsLost(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	s := tn.source("topic=a", nil)
	s.expects(`session {"resumed":false}`)
	for i := range 100 {
		tn.publish("a", i)
	}
	s.expects(heard("a", "0"))
	s.cancel()
	waits(t, "the browser is gone", func() bool { return tn.gw.Stats().Browsers == 0 })
	again := tn.again(s, "topic=a")
	again.expects(`session {"resumed":true}`, `notice {"lost_events":35}`, heard("a", "36"))
}

// Line ends in what is published do not become fields of an event.
func TestEventsKeepLines(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{})
	s := tn.source("topic=a", nil)
	s.expects(`session {"resumed":false}`)
	nc, err := tn.mem.Dial(t.Context(), "topics")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "PUBLISH\x00{\"topic\":\"a\",\n\n\"event\":\"e\",\r\"data\":\r\n1}\x00")
	s.expects(`{"timestamp":T,"topic":"a",  "event":"e", "data":  1}`)
}

func TestEventsRefused(t *testing.T) {
	tn := found(t, pubsub.Options{Authorize: func(_ *pubsub.Client, _ pubsub.Action, topic string) error {
		if topic == "secret" {
			return errors.New("not for you")
		}
		return nil
	}}, web.Options{MaxTopics: 2})
	for query, want := range map[string]int{
		"": 400, "topic=a&topic=b&topic=c": 400, "topic=a&last=x": 400, "topic=a&history=-1": 400,
		"topic=": 403, "topic=secret": 403, "topic=a&topic=secret": 403, "topic=a.*&last=1": 403,
		"topic=a": 200,
	} {
		s := tn.source(query, nil)
		if s.resp.StatusCode != want {
			t.Errorf("%q: status %s, want %d", query, s.resp.Status, want)
		}
		if b := make([]byte, 9); want != 200 {
			if _, err := io.ReadFull(s.resp.Body, b); err != nil || string(b) != `{"error":` {
				t.Errorf("%q: answer %q, %v", query, b, err)
			}
		}
		s.cancel()
	}
	for _, id := range []string{"x", "1.x", ".", "12.5", strings.Repeat("1", 300) + ".1"} {
		s := tn.source("topic=a", http.Header{"Last-Event-Id": {id}})
		s.expects(`session {"resumed":false}`)
		s.cancel()
	}
}

func TestSlowEvents(t *testing.T) {
	tn := found(t, pubsub.Options{}, web.Options{MaxBuffered: 64 << 10, WriteTimeout: 500 * time.Millisecond})
	s := tn.source("topic=a", nil)
	s.expects(`session {"resumed":false}`)
	big := strings.Repeat("x", 30_000)
	waits(t, "the browser is cut off", func() bool { tn.publish("a", big); return tn.gw.Stats().Browsers == 0 })
	for range 100_000 {
		if e := s.event(); !strings.Contains(e, big) {
			return // a notice, or the end in the middle of something
		}
	}
	t.Error("it goes on")
}
