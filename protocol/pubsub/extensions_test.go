package pubsub_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session/boltstore"
)

// extensionStep is a frame that a client sends, unless it is "", and the frames that it receives.
type extensionStep struct {
	client int
	send   string
	want   []string
}

func publishRequest(topic, data string) string {
	return `{"action":"publish","id":7,"data":` + message(topic, data) + `}`
}

// subscribeRequest returns a subscribe request; fields is "" or begins with a comma.
func subscribeRequest(topic, fields string) string {
	return `{"action":"subscribe","data":"` + topic + `"` + fields + `}`
}

// extensionTranscripts are steps of several clients, in order.
var extensionTranscripts = []struct {
	name  string
	opts  pubsub.Options
	steps []extensionStep
}{
	{"overlapping patterns", pubsub.Options{}, []extensionStep{
		{0, subscribeRequest("a.*", ""), []string{"ACK"}}, {0, subscribeRequest("a.>", ""), []string{"ACK"}}, {0, subscribeRequest("a.b", ""), []string{"ACK"}},
		{1, publishRequest("a.b", "1"), []string{`{"published":1,"id":7}`}}, {0, "", []string{delivered("a.b", "1")}},
		{1, publishRequest("a.b.c", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{delivered("a.b.c", "2")}},
		{1, publishRequest("a", "3"), []string{`{"published":0,"id":7}`}},
		{0, `{"action":"presence","data":"a.*","id":"q"}`, []string{`{"subscribers":1,"id":"q"}`}}}},
	{"from a topic to a pattern and back", pubsub.Options{}, []extensionStep{
		{0, subscribeRequest("a.b", ""), []string{"ACK"}}, {0, subscribeRequest("*.b", ""), []string{"ACK"}},
		{1, publishRequest("a.b", "1"), []string{`{"published":1,"id":7}`}}, {0, "", []string{delivered("a.b", "1")}},
		{0, `{"action":"unsubscribe","data":"*.b"}`, nil},
		{1, publishRequest("a.b", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{delivered("a.b", "2")}}}},
	{"history", pubsub.Options{History: 3}, []extensionStep{
		{1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("x", "2"), []string{`{"published":0,"id":7}`}},
		{1, publishRequest("x", "3"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("x", "4"), []string{`{"published":0,"id":7}`}},
		{0, subscribeRequest("x", `,"last":true`), []string{"ACK", delivered("x", "4")}},
		{2, subscribeRequest("x", `,"history":99`), []string{"ACK", delivered("x", "2"), delivered("x", "3"), delivered("x", "4")}},
		{3, subscribeRequest("x", `,"history":2,"last":true`), []string{"ACK", delivered("x", "3"), delivered("x", "4")}}}},
	{"no history", pubsub.Options{History: -1}, []extensionStep{
		{1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}}, {0, subscribeRequest("x", `,"last":true`), []string{"ACK"}},
		{1, publishRequest("x", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{delivered("x", "2")}}}},
	{"message longer than the history", pubsub.Options{HistoryBytes: 100}, []extensionStep{
		{1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("x", `"`+strings.Repeat("a", 100)+`"`), []string{`{"published":0,"id":7}`}},
		{0, subscribeRequest("x", `,"last":true`), []string{"ACK"}}}},
	{"history of all topics", pubsub.Options{HistoryTotal: 1200}, []extensionStep{
		{1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("y", "1"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("z", "1"), []string{`{"published":0,"id":7}`}},
		{1, publishRequest("x", "2"), []string{`{"published":0,"id":7}`}},
		{0, subscribeRequest("x", `,"history":9`), []string{"ACK", delivered("x", "2")}}, {0, subscribeRequest("z", `,"history":9`), []string{"ACK", delivered("z", "1")}}}},
	{"too many subscriptions", pubsub.Options{MaxSubscriptions: 2}, []extensionStep{
		{0, subscribeRequest("x", ""), []string{"ACK"}}, {0, subscribeRequest("y", ""), []string{"ACK"}}, {0, subscribeRequest("x", ""), []string{"ACK"}},
		{0, subscribeRequest("z", ""), []string{`{"error":"bad input: limit exceeded: at most 2 subscriptions per session"}`, "EOF"}}}},
	{"too many topics", pubsub.Options{MaxTopics: 2}, []extensionStep{
		{0, subscribeRequest("x", ""), []string{"ACK"}}, {0, subscribeRequest("y", ""), []string{"ACK"}},
		{1, publishRequest("z", "1"), []string{`{"published":0,"id":7}`}}, // no topic is created for the history
		{0, subscribeRequest("z.*", ""), []string{`{"error":"bad input: limit exceeded: at most 2 topics"}`, "EOF"}}}},
	{"publish rate exceeded", pubsub.Options{PublishRate: 1}, []extensionStep{
		{1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}}, {1, publishRequest("x", "1"), []string{`{"published":0,"id":7}`}},
		{1, publishRequest("x", "1"), []string{`{"error":"bad input: limit exceeded: at most 1 messages per second per connection"}`, "EOF"}}}},
	{"topic name of 1 MB", pubsub.Options{MaxFrame: 2 << 20}, []extensionStep{
		{0, subscribeRequest(strings.Repeat("a", 256), ""), []string{"ACK"}},
		{0, subscribeRequest(strings.Repeat("a", 1<<20), ""), []string{`{"error":"bad input: topic name of 1048576 bytes, the limit is 256"}`, "EOF"}},
		{1, publishRequest(strings.Repeat("a", 1<<20), "1"), []string{`{"error":"bad input: topic name of 1048576 bytes, the limit is 256"}`, "EOF"}}}},
	{"JSON nested a million deep", pubsub.Options{MaxFrame: 4 << 20}, []extensionStep{
		{0, strings.Repeat("[", 1_000_000), []string{`{"error":"bad input: the request is not a valid JSON object: unexpected array"}`, "EOF"}},
		{1, publishRequest("x", strings.Repeat("[", 1_000_000)+strings.Repeat("]", 1_000_000)), []string{`{"error":"bad input: the request is not a valid JSON object: nested more than 128 deep"}`, "EOF"}}}},
	{"publish with ids", pubsub.Options{}, []extensionStep{
		{1, `{"action":"publish","data":{"topic":"x"},"id":{"a":[1]}}`, []string{`{"published":0,"id":{"a":[1]}}`}},
		{1, `{"action":"publish","data":{"topic":"x"}}`, []string{`{"published":0}`}},
		{1, `{"action":"publish"}`, []string{`{"error":"bad input: the message is not a valid JSON object: unexpected end of JSON input"}`, "EOF"}}}},
}

func TestExtensions(t *testing.T) {
	for _, tt := range extensionTranscripts {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newTestServer(t, tt.opts)
				clients := map[int]*testClient{}
				for _, st := range tt.steps {
					c := clients[st.client]
					if c == nil {
						c = srv.client()
						clients[st.client] = c
					}
					if st.send != "" {
						c.write(st.send + "\x00")
					}
					c.expect(st.want...)
					synctest.Wait()
				}
				for i, c := range clients {
					if len(c.in) > 0 {
						t.Errorf("client %d: got %q in addition, want nothing", i, c.in)
					}
				}
			})
		})
	}
}

func TestAuthorize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		srv := newTestServer(t, pubsub.Options{Authorize: func(c *pubsub.Client, a pubsub.Action, topic string) error {
			got = append(got, fmt.Sprint(a, " ", topic, " ", c.Token() != "" && c.Conn().RemoteAddr() != nil))
			if topic == "secret" {
				return errors.New("no")
			}
			return nil
		}})
		for _, frame := range []string{
			`{"action":"subscribe","data":"secret"}`, `{"action":"presence","data":"secret"}`, "PUBLISH\x00" + message("secret", "1"),
			`{"action":"publish","data":` + message("secret", "1") + `}`,
		} {
			c := srv.client()
			c.request("presence", "open")
			c.expect(`{"subscribers":0}`)
			c.write(frame + "\x00")
			want := regexp.MustCompile(`^\{"error":"bad input: not allowed: \w+ \\"secret\\": no"\}$`)
			if f := c.frame(); !want.MatchString(f) {
				t.Errorf("got %q, want %s", f, want)
			}
			c.expect("EOF")
		}
		first := "presence open true"
		want := []string{first, "subscribe secret true", first, "presence secret true",
			first, "publish secret true", first, "publish secret true"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls of Authorize (-want +got):\n%s", diff)
		}
		if st := srv.Stats(); st.Refused != 4 || st.Published != 0 || st.Topics != 0 {
			t.Errorf("got %+v, want 4 refused clients, no messages and no topics", st)
		}
	})
}

// Sessions in a store survive a restart of the server.
func TestStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	start := func() *testServer {
		store, err := boltstore.Open(file)
		if err != nil {
			t.Fatalf("boltstore.Open: got %v, want no error", err)
		}
		return newTestServer(t, pubsub.Options{Store: store})
	}
	srv := start()
	a := srv.client()
	a.subscribe("x")
	a.subscribe("y.*")
	a.subscribe("z")
	a.request("unsubscribe", "z")
	a.request("presence", "x")
	a.expect(`{"subscribers":1}`)
	srv.stop()

	srv = start()
	if n := srv.Stats().Sessions.Loaded; n != 1 {
		t.Errorf("got %d loaded sessions, want 1", n)
	}
	b := srv.client()
	b.request("attach", a.token)
	b.expect("ACK")
	for _, topic := range []string{"x", "y.1", "z"} {
		srv.publish(topic, "1")
	}
	b.expect(delivered("x", "1"), delivered("y.1", "1"))
	if err := srv.EndSession(a.token); err != nil {
		t.Fatalf("EndSession: got %v, want no error", err)
	}
	b.expect(`{"error":"unknown or expired session"}`, "EOF")
	if n := srv.Subscribers("x"); n != 0 {
		t.Errorf("got %d subscribers, want 0", n)
	}
	srv.stop()

	srv = start()
	b = srv.client()
	b.request("attach", a.token)
	b.expect(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
}

// A slow client receives the exact number of messages that its queue has dropped.
func TestDropped(t *testing.T) {
	for _, policy := range []protocol.Overflow{protocol.DropNewest, protocol.DropOldest} {
		for _, pattern := range []bool{false, true} {
			t.Run(fmt.Sprint(policy, pattern), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := newTestServer(t, pubsub.Options{MissedHeartbeats: -1, Queue: protocol.QueueOptions{MaxBytes: 100_000, Overflow: policy}})
					a, b := srv.client(), srv.client()
					a.subscribe("x")
					if pattern {
						a.subscribe("p.*")
					}
					const sent = 1000
					for range sent / 50 {
						for range 50 {
							b.write("{\"action\":\"publish\",\"data\":" + message("x", `"`+strings.Repeat("m", 1000)+`"`) + "}\x00")
							b.expect(`{"published":1}`)
						}
						time.Sleep(6 * time.Second) // a notice may be dropped as well
					}
					got, reported := 0, 0
					for got+reported < sent {
						f := a.frame()
						if n := regexp.MustCompile(`^\{"dropped":(\d+)\}$`).FindStringSubmatch(f); n != nil {
							k, _ := strconv.Atoi(n[1])
							reported += k
						} else if strings.Contains(f, `"topic":"x"`) {
							got++
						} else if f != "PING" {
							t.Fatalf("after %d messages and %d reported as dropped: got %q, want a message or notice", got, reported, f)
						}
					}
					if reported == 0 || got+reported != sent {
						t.Errorf("got %d messages and %d reported as dropped, want some dropped and %d in total", got, reported, sent)
					}
					a.nc.Close()
					synctest.Wait()
					if n := srv.Stats().Dropped; n != uint64(reported) {
						t.Errorf("Stats.Dropped: got %d, want %d as reported", n, reported)
					}
				})
			})
		}
	}
}

// The session buffers what is published while its connection is being closed, which takes seconds
// if the client does not read.
func TestPublishWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{Heartbeat: time.Second, SessionTTL: time.Hour, MaxBuffered: 1 << 20})
		a, other := srv.client(), srv.client()
		a.subscribe("x")
		go func() {
			for other.frame() == "PING" {
				io.WriteString(other.nc, "PONG\x00")
			}
		}()
		for range 200 { // more than the connection takes, so that writes stop
			srv.Publish("x", "e", "", strings.Repeat("a", 1000))
		}
		for srv.Stats().Silent == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if st := srv.Stats(); st.Clients != 2 {
			t.Fatalf("got %d clients, want 2: the silent one must still be closing", st.Clients)
		}
		srv.Publish("x", "e", "", "late")
		time.Sleep(10 * time.Second)
		b := srv.client()
		b.request("attach", a.token)
		b.expect(delivered("x", `"late"`), "ACK")
	})
}
