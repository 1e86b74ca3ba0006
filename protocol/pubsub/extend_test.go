package pubsub_test

import (
	"context"
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
	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
)

// Extensions by transcript: what clients ask in turn, and what they get.
func TestExtensions(t *testing.T) {
	type step struct {
		bot  int
		send string
		want []string
	}
	m := func(topic, data string) string {
		return `{"action":"publish","id":7,"data":` + message(topic, data) + `}`
	}
	sub := func(topic, more string) string {
		return `{"action":"subscribe","data":"` + topic + `"` + more + `}`
	}
	for _, c := range []struct {
		name  string
		opts  pubsub.Options
		steps []step
	}{
		{"overlapping patterns", pubsub.Options{}, []step{
			{0, sub("a.*", ""), []string{"ACK"}}, {0, sub("a.>", ""), []string{"ACK"}}, {0, sub("a.b", ""), []string{"ACK"}},
			{1, m("a.b", "1"), []string{`{"published":1,"id":7}`}}, {0, "", []string{heard("a.b", "1")}},
			{1, m("a.b.c", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{heard("a.b.c", "2")}},
			{1, m("a", "3"), []string{`{"published":0,"id":7}`}},
			{0, `{"action":"presence","data":"a.*","id":"q"}`, []string{`{"subscribers":1,"id":"q"}`}}}},
		{"to a pattern and back", pubsub.Options{}, []step{
			{0, sub("a.b", ""), []string{"ACK"}}, {0, sub("*.b", ""), []string{"ACK"}},
			{1, m("a.b", "1"), []string{`{"published":1,"id":7}`}}, {0, "", []string{heard("a.b", "1")}},
			{0, `{"action":"unsubscribe","data":"*.b"}`, nil},
			{1, m("a.b", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{heard("a.b", "2")}}}},
		{"history", pubsub.Options{History: 3}, []step{
			{1, m("x", "1"), []string{`{"published":0,"id":7}`}}, {1, m("x", "2"), []string{`{"published":0,"id":7}`}},
			{1, m("x", "3"), []string{`{"published":0,"id":7}`}}, {1, m("x", "4"), []string{`{"published":0,"id":7}`}},
			{0, sub("x", `,"last":true`), []string{"ACK", heard("x", "4")}},
			{2, sub("x", `,"history":99`), []string{"ACK", heard("x", "2"), heard("x", "3"), heard("x", "4")}},
			{3, sub("x", `,"history":2,"last":true`), []string{"ACK", heard("x", "3"), heard("x", "4")}}}},
		{"no history", pubsub.Options{History: -1}, []step{
			{1, m("x", "1"), []string{`{"published":0,"id":7}`}}, {0, sub("x", `,"last":true`), []string{"ACK"}},
			{1, m("x", "2"), []string{`{"published":1,"id":7}`}}, {0, "", []string{heard("x", "2")}}}},
		{"a message too long for the history", pubsub.Options{HistoryBytes: 100}, []step{
			{1, m("x", "1"), []string{`{"published":0,"id":7}`}}, {1, m("x", `"`+strings.Repeat("a", 100)+`"`), []string{`{"published":0,"id":7}`}},
			{0, sub("x", `,"last":true`), []string{"ACK"}}}},
		{"history of all topics", pubsub.Options{HistoryTotal: 300}, []step{
			{1, m("x", "1"), []string{`{"published":0,"id":7}`}}, {1, m("y", "1"), []string{`{"published":0,"id":7}`}}, {1, m("z", "1"), []string{`{"published":0,"id":7}`}},
			{1, m("x", "2"), []string{`{"published":0,"id":7}`}},
			{0, sub("x", `,"history":9`), []string{"ACK", heard("x", "2")}}, {0, sub("z", `,"history":9`), []string{"ACK", heard("z", "1")}}}},
		{"too many subscriptions", pubsub.Options{MaxSubscriptions: 2}, []step{
			{0, sub("x", ""), []string{"ACK"}}, {0, sub("y", ""), []string{"ACK"}}, {0, sub("x", ""), []string{"ACK"}},
			{0, sub("z", ""), []string{`{"error":"bad input: limit exceeded: 2 are allowed: subscriptions of one client"}`, "EOF"}}}},
		{"too many topics", pubsub.Options{MaxTopics: 2}, []step{
			{0, sub("x", ""), []string{"ACK"}}, {0, sub("y", ""), []string{"ACK"}},
			{1, m("z", "1"), []string{`{"published":0,"id":7}`}}, // none is made for its history
			{0, sub("z.*", ""), []string{`{"error":"bad input: limit exceeded: there are 2 topics already"}`, "EOF"}}}},
		{"too fast", pubsub.Options{PublishRate: 1}, []step{
			{1, m("x", "1"), []string{`{"published":0,"id":7}`}}, {1, m("x", "1"), []string{`{"published":0,"id":7}`}},
			{1, m("x", "1"), []string{`{"error":"bad input: limit exceeded: 1 are allowed: messages per second of one client"}`, "EOF"}}}},
		{"a name of 1 MB", pubsub.Options{MaxFrame: 2 << 20}, []step{
			{0, sub(strings.Repeat("a", 256), ""), []string{"ACK"}},
			{0, sub(strings.Repeat("a", 1<<20), ""), []string{`{"error":"bad input: the topic's name has 1048576 bytes: allowed are 256"}`, "EOF"}},
			{1, m(strings.Repeat("a", 1<<20), "1"), []string{`{"error":"bad input: the topic's name has 1048576 bytes: allowed are 256"}`, "EOF"}}}},
		{"a million deep", pubsub.Options{MaxFrame: 4 << 20}, []step{
			{0, strings.Repeat("[", 1_000_000), []string{`{"error":"bad input: a request is a JSON object: invalid character '[' exceeded max depth"}`, "EOF"}},
			{1, m("x", strings.Repeat("[", 1_000_000)+strings.Repeat("]", 1_000_000)), []string{`{"error":"bad input: a request is a JSON object: invalid character '[' exceeded max depth"}`, "EOF"}}}},
		{"publish with ids", pubsub.Options{}, []step{
			{1, `{"action":"publish","data":{"topic":"x"},"id":{"a":[1]}}`, []string{`{"published":0,"id":{"a":[1]}}`}},
			{1, `{"action":"publish","data":{"topic":"x"}}`, []string{`{"published":0}`}},
			{1, `{"action":"publish"}`, []string{`{"error":"bad input: a message is a JSON object: unexpected end of JSON input"}`, "EOF"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tn := found(t, c.opts)
				bots := map[int]*bot{}
				for _, st := range c.steps {
					b := bots[st.bot]
					if b == nil {
						b = tn.bot()
						bots[st.bot] = b
					}
					if st.send != "" {
						b.write(st.send + "\x00")
					}
					b.expects(st.want...)
					synctest.Wait()
				}
				for i, b := range bots {
					if len(b.in) > 0 {
						t.Errorf("bot %d: %q too much", i, b.in)
					}
				}
			})
		})
	}
}

func TestAuthorize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		tn := found(t, pubsub.Options{Authorize: func(c *pubsub.Client, a pubsub.Action, topic string) error {
			asked = append(asked, fmt.Sprint(a, " ", topic, " ", c.Token() != "" && c.Conn().RemoteAddr() != nil))
			if topic == "secret" {
				return errors.New("no")
			}
			return nil
		}})
		for _, frame := range []string{
			`{"action":"subscribe","data":"secret"}`, `{"action":"presence","data":"secret"}`, "PUBLISH\x00" + message("secret", "1"),
			`{"action":"publish","data":` + message("secret", "1") + `}`,
		} {
			b := tn.bot()
			b.asks("presence", "open")
			b.expects(`{"subscribers":0}`)
			b.write(frame + "\x00")
			if f := b.frame(); !regexp.MustCompile(`^\{"error":"bad input: not allowed: \w+ \\"secret\\": no"\}$`).MatchString(f) {
				t.Errorf("%q", f)
			}
			b.expects("EOF")
		}
		o := "presence open true"
		if diff := cmp.Diff([]string{o, "subscribe secret true", o, "presence secret true", o, "publish secret true", o, "publish secret true"}, asked); diff != "" {
			t.Error(diff)
		}
		if st := tn.s.Stats(); st.Refused != 4 || st.Published != 0 || st.Topics != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A silent client gets its heartbeats, and is closed; one that answers, or only asks, is not.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a, b := tn.bot(), tn.bot()
		a.subscribes("x")
		b.subscribes("x")
		start := time.Now()
		for range 10 {
			b.nc.SetReadDeadline(time.Time{})
			b.expects("PING")
			b.write("PONG\x00")
		}
		if d := time.Since(start); d < 10*30*time.Second || d > 10*40*time.Second {
			t.Errorf("10 heartbeats in %v", d)
		}
		a.expects("PING", "PING", "PING", "EOF")
		if st := tn.s.Stats(); st.Silent != 1 || st.Clients != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// Two servers with a broker between them, and each with the other's messages, once.
func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m pubsub.Memory
		one, two := found(t, pubsub.Options{Broker: m.Join()}), found(t, pubsub.Options{Broker: m.Join()})
		a, b := one.bot(), two.bot()
		a.subscribes("x")
		b.subscribes("*")
		for i := range 3 {
			one.publishes("x", strconv.Itoa(i))
			two.publishes("x", strconv.Itoa(10+i))
		}
		for _, bt := range []*bot{a, b} {
			for i := range 3 {
				bt.expects(heard("x", strconv.Itoa(i)), heard("x", strconv.Itoa(10+i)))
			}
		}
		two.l.Stop()
		if err := two.s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		one.publishes("x", "9")
		a.expects(heard("x", "9"))
		if st := two.s.Stats(); st.Published != 6 {
			t.Errorf("%+v", st)
		}
	})
}

type failing struct{ pubsub.Broker }

func (failing) Publish(string, []byte) error { return errors.New("no route") }
func (failing) Receive(func(string, []byte)) (func(), error) {
	return func() {}, nil
}

// A broker that fails harms nobody here.
func TestBrokerFails(t *testing.T) {
	var errs []string
	s, err := pubsub.NewServer(pubsub.Options{Broker: failing{}, OnError: func(err error) { errs = append(errs, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if n, err := s.Publish("x", "e", "", 1); n != 0 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff([]string{`topic "x": broker: no route`}, errs); diff != "" {
		t.Error(diff)
	}
}

// Sessions outlive a restart.
func TestStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	start := func() *town {
		store, err := boltstore.Open(file, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return found(t, pubsub.Options{Store: store})
	}
	tn := start()
	a := tn.bot()
	a.subscribes("x")
	a.subscribes("y.*")
	a.subscribes("z")
	a.asks("unsubscribe", "z")
	a.asks("presence", "x")
	a.expects(`{"subscribers":1}`)
	tn.close()

	tn = start()
	if st := tn.s.Stats(); st.Sessions.Loaded != 1 {
		t.Errorf("%+v", st.Sessions)
	}
	b := tn.bot()
	b.asks("attach", a.token)
	b.expects("ACK")
	for _, topic := range []string{"x", "y.1", "z"} {
		tn.publishes(topic, "1")
	}
	b.expects(heard("x", "1"), heard("y.1", "1"))
	if err := tn.s.EndSession(a.token); err != nil {
		t.Fatal(err)
	}
	b.expects(`{"error":"unknown or expired session"}`, "EOF")
	if n := tn.s.Count("x"); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	tn.close()

	tn = start()
	b = tn.bot()
	b.asks("attach", a.token)
	b.expects(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
}

// A client that does not keep up is told how many messages it has lost, to the message.
func TestDropped(t *testing.T) {
	for _, policy := range []protocol.Overflow{protocol.DropNewest, protocol.DropOldest} {
		for _, pattern := range []bool{false, true} {
			t.Run(fmt.Sprint(policy, pattern), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tn := found(t, pubsub.Options{MissedHeartbeats: -1, Queue: protocol.QueueOptions{MaxBytes: 100_000, Overflow: policy}})
					a, b := tn.bot(), tn.bot()
					a.subscribes("x")
					if pattern {
						a.subscribes("p.*")
					}
					const sent = 1000
					for range sent / 50 {
						for range 50 {
							b.write("{\"action\":\"publish\",\"data\":" + message("x", `"`+strings.Repeat("m", 1000)+`"`) + "}\x00")
							b.expects(`{"published":1}`)
						}
						time.Sleep(6 * time.Second) // the notice may be dropped too
					}
					got, told := 0, 0
					for got+told < sent {
						f := a.frame()
						if n := regexp.MustCompile(`^\{"dropped":(\d+)\}$`).FindStringSubmatch(f); n != nil {
							k, _ := strconv.Atoi(n[1])
							told += k
						} else if strings.Contains(f, `"topic":"x"`) {
							got++
						} else if f != "PING" {
							t.Fatalf("%q after %d messages and %d dropped", f, got, told)
						}
					}
					if told == 0 || got+told != sent {
						t.Errorf("%d messages and %d dropped", got, told)
					}
					a.nc.Close()
					synctest.Wait()
					if st := tn.s.Stats(); st.Dropped != uint64(told) {
						t.Errorf("%d dropped by the counters", st.Dropped)
					}
				})
			})
		}
	}
}

func TestEndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		a := tn.bot()
		a.subscribes("x")
		a.subscribes("y.*")
		if n := len(tn.s.Sessions()); n != 1 {
			t.Errorf("%d sessions", n)
		}
		if err := tn.s.EndSession(a.token); err != nil {
			t.Fatal(err)
		}
		a.expects(`{"error":"unknown or expired session"}`, "EOF")
		synctest.Wait()
		if err := tn.s.EndSession(a.token); !errors.Is(err, session.ErrUnknown) {
			t.Error(err)
		}
		if st := tn.s.Stats(); st.Topics != 0 || st.Clients != 0 || st.Sessions.Attached+st.Sessions.Detached != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// An expired session leaves its topics; what it was to get is gone.
func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{SessionTTL: time.Minute, Retain: -1})
		a := tn.bot()
		a.subscribes("x")
		a.nc.Close()
		synctest.Wait()
		if n := tn.s.Count("x"); n != 1 {
			t.Errorf("%d subscribers", n)
		}
		time.Sleep(2 * time.Minute)
		if st := tn.s.Stats(); st.Topics != 0 || st.Sessions.Expired != 1 {
			t.Errorf("%+v", st)
		}
		b := tn.bot()
		b.asks("attach", a.token)
		b.expects(`{"error":"bad input: attach: unknown or expired session"}`, "EOF")
	})
}

// What is published while a connection is being let go of, which may take seconds, is kept.
func TestNothingLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{Heartbeat: time.Second, SessionTTL: time.Hour, MaxBuffered: 1 << 20})
		a, p := tn.bot(), tn.bot()
		a.subscribes("x")
		go func() {
			for p.frame() == "PING" {
				io.WriteString(p.nc, "PONG\x00")
			}
		}()
		for range 200 { // more than the connection takes, which then goes silent
			tn.s.Publish("x", "e", "", strings.Repeat("a", 1000))
		}
		for tn.s.Stats().Silent == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if st := tn.s.Stats(); st.Clients != 2 {
			t.Fatalf("not in the middle of it: %+v", st)
		}
		tn.s.Publish("x", "e", "", "late")
		time.Sleep(10 * time.Second)
		b := tn.bot()
		b.asks("attach", a.token)
		b.expects(heard("x", `"late"`), "ACK")
	})
}

func TestOptions(t *testing.T) {
	_, err := pubsub.NewServer(pubsub.Options{MaxFrame: -1, MaxTopics: -2, Queue: protocol.QueueOptions{Overflow: protocol.Block, MaxBytes: -1}})
	for _, want := range []string{"MaxFrame -1", "MaxTopics -2", "Queue.Overflow block", "Queue.MaxBytes -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
