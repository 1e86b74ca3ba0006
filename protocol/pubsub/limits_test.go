package pubsub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/session"
	"goranch/transport"
)

// notText are requests with bytes that not every edge can carry.
var notText = []struct{ name, send, want string }{
	{"data of PUBLISH", "PUBLISH\x00{\"topic\":\"x\",\"data\":\"caf\xe9\"}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xe9`},
	{"data of publish", "{\"action\":\"publish\",\"data\":{\"topic\":\"x\",\"data\":\"caf\xe9\"}}\x00", `the request is not a valid JSON object: invalid UTF-8: byte 0xe9`},
	{"UTF-8 cut off", "PUBLISH\x00{\"topic\":\"x\",\"data\":\"\xe2\x82\"}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xe2`},
	{"surrogate in UTF-8", "PUBLISH\x00{\"topic\":\"x\",\"data\":\"\xed\xa0\x80\"}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xed`},
	{"byte outside a string", "PUBLISH\x00{\"topic\":\"x\",\xff}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xff`},
	{"key", "PUBLISH\x00{\"\xff\":1,\"topic\":\"x\"}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xff`},
	{"line end in a string", "PUBLISH\x00{\"topic\":\"x\",\"data\":\"a\nb\"}\x00", `the message is not a valid JSON object: invalid character '\\n' in string literal`},
	{"SOH in a string", "PUBLISH\x00{\"topic\":\"x\",\"data\":\"a\x01b\"}\x00", `the message is not a valid JSON object: invalid character '\\x01' in string literal`},
	{"topic of PUBLISH", "PUBLISH\x00{\"topic\":\"\xff\"}\x00", `the message is not a valid JSON object: invalid UTF-8: byte 0xff`},
	{"topic of subscribe", "{\"action\":\"subscribe\",\"data\":\"\xff\"}\x00", `the request is not a valid JSON object: invalid UTF-8: byte 0xff`},
	{"surrogate in a topic of subscribe", "{\"action\":\"subscribe\",\"data\":\"a\\ud800\"}\x00", `the data of \"subscribe\" has an unpaired surrogate`},
	{"surrogate in a topic of PUBLISH", "PUBLISH\x00{\"topic\":\"a\\udc00\\ud800\"}\x00", `the topic name has an unpaired surrogate`},
	{"control character in a topic of subscribe", "{\"action\":\"subscribe\",\"data\":\"a\\u001b[2J\"}\x00", `topic name \"a\\x1b[2J\" has the control character U+001B`},
	{"control character in a topic of PUBLISH", "PUBLISH\x00{\"topic\":\"a\\u0085\"}\x00", `topic name \"a\\u0085\" has the control character U+0085`},
	{"id", "{\"action\":\"presence\",\"data\":\"x\",\"id\":\"\xff\"}\x00", `the request is not a valid JSON object: invalid UTF-8: byte 0xff`},
}

// Every edge refuses bytes that another edge could not carry, so that no subscriber receives them.
func TestInvalidUTF8IsRefusedAtEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		all := srv.client()
		all.subscribe(">")
		for _, tt := range notText {
			c := srv.client()
			c.write(tt.send)
			if diff := cmp.Diff([]string{`{"error":"bad input: ` + tt.want + `"}`, "EOF"}, []string{c.frame(), c.frame()}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		for _, call := range []func() (int, error){
			func() (int, error) { return srv.Publish("a\xff", "e", "", 1) },
			func() (int, error) { return srv.Publish("a", "e\xff", "", 1) },
			func() (int, error) { return srv.Publish("a", "e", "i\xff", 1) },
			func() (int, error) { return srv.Publish("a", "e", "", json.RawMessage("\"\xff\"")) },
		} {
			if _, err := call(); !errors.Is(err, protocol.ErrBadInput) {
				t.Errorf("Publish: got %v, want %v", err, protocol.ErrBadInput)
			}
		}
		valid := `"\ud83d\ude00 \u0000 \ud800 é 😀"` // escapes are text for every edge
		srv.publish("a", valid)
		all.expect(delivered("a", valid))
	})
}

// brokerFrames is a broker that delivers what a test passes to it.
type brokerFrames struct {
	pubsub.Broker
	receiver pubsub.Receiver
}

func (*brokerFrames) Ordered(string) bool   { return false }
func (*brokerFrames) Subscribe(...string)   {}
func (*brokerFrames) Unsubscribe(...string) {}
func (b *brokerFrames) Receive(r pubsub.Receiver) (func(), error) {
	b.receiver = r
	return func() {}, nil
}

func (b *brokerFrames) deliver(topic string, frame []byte) {
	b.receiver.Deliver(pubsub.Message{Topic: topic, Frame: frame})
}

// The frames of a broker are checked like those of clients.
func TestInvalidBrokerFramesAreRefusedAtEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b brokerFrames
		var errs []string
		srv := newTestServer(t, pubsub.Options{Broker: &b, OnError: func(err error) { errs = append(errs, err.Error()) }})
		c := srv.client()
		c.subscribe(">")
		for _, frame := range []string{
			"", "PING\x01", "{\"topic\":\"x\"}\x01", "{\"timestamp\":[1,2,3],\"topic\":\"x\"}", "{\"timestamp\":[1,2,3],\"topic\":\"y\"}\x01",
			"{\"timestamp\":[1,2,3],\"topic\":\"x\",\"data\":\"\xff\"}\x01", "{\"timestamp\":[1,2,3],\"topic\":\"x\"}\x01{\"timestamp\":[1,2,3],\"topic\":\"x\"}\x01",
		} {
			b.deliver("x", []byte(frame))
		}
		b.deliver("x\xff", []byte("{\"timestamp\":[1,2,3],\"topic\":\"x\xff\"}\x01"))
		if len(errs) != 8 {
			t.Errorf("OnError: got %d errors %q, want 8", len(errs), errs)
		}
		b.deliver("x", []byte("{\"timestamp\":[1,2,3],\"topic\":\"x\",\"data\":1}\x01"))
		c.expect(`{"timestamp":T,"topic":"x","data":1}`)
	})
}

// A message after PUBLISH is delivered as soon as its JSON is complete, although neither its NUL
// nor the end of the stream has arrived. The original does the same.
func TestPublishWithoutEnd(t *testing.T) {
	for _, piece := range []int{1, 7, 1000} {
		for _, before := range []string{"", "<regular-socket/>\x00", " \r\n"} {
			synctest.Test(t, func(t *testing.T) {
				srv := newTestServer(t, pubsub.Options{})
				a := srv.client()
				a.subscribe("x")
				p := srv.client()
				data := `{"a":["}",1.5e3,{"b":"\"{"}]}`
				stream := "<regular-socket/>\x00PUBLISH\x00" + before + message("x", data)
				for len(stream) > 0 {
					n := min(piece, len(stream))
					p.write(stream[:n])
					stream = stream[n:]
					synctest.Wait()
				}
				a.expect(delivered("x", data))
				p.expect("EOF")
				if st := srv.Stats(); st.Published != 1 || st.Refused != 0 {
					t.Errorf("got %+v, want 1 message and no refused client", st)
				}
			})
		}
	}
}

// A connection that exceeds the rate of frames is closed, whatever the frames are.
func TestRequestRate(t *testing.T) {
	for _, frame := range []string{"\x00", "PING\x00", "<regular-socket/>\x00", "{\"action\":\"presence\",\"data\":\"x\"}\x00", "{\"action\":\"unsubscribe\",\"data\":\"x\"}\x00", "{\"action\":\"subscribe\",\"data\":\"x\"}\x00"} {
		synctest.Test(t, func(t *testing.T) {
			srv := newTestServer(t, pubsub.Options{RequestRate: 10})
			c := srv.client()
			go io.Copy(io.Discard, c.nc)
			for range 5 { // at the rate
				c.write(strings.Repeat(frame, 10))
				time.Sleep(time.Second)
			}
			if n := srv.Stats().Refused; n != 0 {
				t.Fatalf("%q at the rate: got %d refused clients, want 0", frame, n)
			}
			io.WriteString(c.nc, strings.Repeat(frame, 40))
			synctest.Wait()
			if n := srv.Stats().Refused; n != 1 {
				t.Errorf("%q at a higher rate: got %d refused clients, want 1", frame, n)
			}
		})
	}
}

// A history of 1 MB counts as 512 frames.
func TestRequestRateOfHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{RequestRate: 1000, HistoryBytes: 1 << 20, Queue: protocol.QueueOptions{MaxBytes: 64 << 20}})
		for range 10 {
			srv.Publish("x", "e", "", strings.Repeat("a", 100_000))
		}
		c := srv.client()
		go io.Copy(io.Discard, c.nc)
		io.WriteString(c.nc, strings.Repeat(subscribeRequest("x", `,"history":16`)+"\x00", 10))
		synctest.Wait()
		if st := srv.Stats(); st.Refused != 1 {
			t.Errorf("got %+v, want 1 refused client", st)
		}
	})
}

// A frame that does not arrive within the limit ends its connection; an idle client stays.
func TestFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{FrameTimeout: 10 * time.Second, Heartbeat: -1})
		idle, slow, publisher := srv.client(), srv.client(), srv.client()
		go func() {
			for range 100 {
				if _, err := io.WriteString(slow.nc, "a"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		publisher.write("PUBLISH\x00{\"topic\"")
		for _, c := range []*testClient{slow, publisher} {
			c.expect(`{"error":"bad input: a frame has not arrived completely within 10s"}`, "EOF")
		}
		idle.subscribe("x")
		time.Sleep(time.Minute)
		idle.subscribe("y")
		slow.nc.Close()
		time.Sleep(time.Minute)
	})
}

// Incomplete frames take memory as they arrive, within a limit for their source address.
func TestIncompleteFrames(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{AddressBytes: 1 << 20}, transport.TCP{}, "127.0.0.1:0")
	const clients = 40
	refused := 0
	var open []*testClient
	for range clients {
		c := srv.client()
		io.WriteString(c.nc, strings.Repeat("a", 20_000))
		open = append(open, c)
	}
	waitFor(t, "clients over the limit", func() bool { return srv.Stats().Refused >= clients-13 })
	waitFor(t, "an error frame of each refused client", func() bool {
		for _, c := range open {
			c.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
			b := make([]byte, 200)
			if n, _ := c.nc.Read(b); strings.Contains(string(b[:n]), "at most 262144 bytes of incomplete frames per source address") {
				refused++
			}
		}
		return refused == int(srv.Stats().Refused)
	})
	if refused > clients-8 {
		t.Errorf("got %d refused clients, want at most %d", refused, clients-8)
	}
	for _, c := range open {
		c.nc.Close()
	}
	waitFor(t, "end of all clients", func() bool { return srv.Stats().Clients == 0 })
	c := srv.client()
	c.write(`{"action":"subscribe","data":"` + strings.Repeat("a", 200)) // in a new buffer
	c.write("\"}\x00")
	c.expect("ACK")
}

// The subscriptions of one source address are limited in bytes, whatever its sessions are, while
// they are attached and when they are attached again.
func TestAddressBytes(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{AddressBytes: 100_000}, transport.TCP{}, "127.0.0.1:0")
	a := srv.client()
	if n := a.subscribeAll(namesOf("a.%04d", 150)); n != 150 {
		t.Fatalf("got %d subscriptions, want 150", n)
	}
	b := srv.client()
	if n := b.subscribeAll(namesOf("b.%04d", 150)); n > 45 || n < 35 {
		t.Errorf("got %d subscriptions of the second session, want about 42", n)
	}
	waitFor(t, "end of the refused client", func() bool { return srv.Stats().Clients == 1 })
	a.nc.Close()
	waitFor(t, "end of the first client", func() bool { return srv.Stats().Clients == 0 })
	c := srv.client()
	c.request("attach", a.token)
	c.expect("ACK")
	d := srv.client()
	if n := d.subscribeAll(namesOf("d.%04d", 150)); n > 45 || n < 35 {
		t.Errorf("got %d subscriptions after attach, want about 42", n)
	}
	for _, name := range namesOf("a.%04d", 150) {
		c.request("unsubscribe", name)
	}
	c.subscribe("last")
	if n := srv.client().subscribeAll(namesOf("e.%04d", 100)); n != 100 {
		t.Errorf("got %d subscriptions after unsubscribe, want 100", n)
	}
}

// Publishers cannot keep others from subscribing: a topic without subscribers is kept for its
// history only, and the oldest histories are evicted.
func TestPublishersDoNotFillTheTopicTable(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{MaxTopics: 100, HistoryTotal: 1 << 20})
	early := srv.client()
	early.subscribe("early")
	srv.Publish("early", "e", "", 1)
	early.frame()
	const published = 20_000
	for i := range published {
		srv.Publish(fmt.Sprint("t.", i), "e", "", i)
	}
	if n := srv.Stats().Topics; n > 2000 || n < 1000 {
		t.Errorf("got %d topics, want 1000 to 2000 within 1 MiB", n)
	}
	c := srv.client()
	if n := c.subscribeAll(namesOf("new.%d", 99)); n != 99 {
		t.Fatalf("got %d subscriptions, want 99", n)
	}
	c.write(subscribeRequest("early", `,"last":true`) + "\x00")
	c.expect("ACK", delivered("early", "1")) // histories of topics with subscribers are evicted last
	d := srv.client()
	d.write(subscribeRequest(fmt.Sprint("t.", published-1), `,"last":true`) + "\x00")
	d.expect(`{"error":"bad input: limit exceeded: at most 100 topics"}`, "EOF")
}

// Sessions with many subscriptions that have lost their connections take no more than their budget.
func TestDetachedSessionsDoNotFillTheTopicTable(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{}, transport.TCP{}, "127.0.0.1:0")
	for i := range 30 {
		c := srv.client()
		if n := c.subscribeAll(namesOf(fmt.Sprint("s", i, ".%d"), 1000)); n != 1000 {
			t.Fatalf("session %d: got %d subscriptions, want 1000", i, n)
		}
		c.nc.Close()
	}
	waitFor(t, "eviction of sessions", func() bool { return srv.Stats().Clients == 0 && srv.Stats().Topics <= 9000 })
	if st := srv.Stats(); st.Sessions.Evicted < 20 || st.Topics < 6000 {
		t.Errorf("got %+v, want at least 20 evicted sessions and 6000 topics", st)
	}
}

// An eviction that a publish causes, because it fills the buffer of a detached session, does not
// block the publish.
func TestEvictionDuringPublish(t *testing.T) {
	srv := newTestServerOn(t, pubsub.Options{MaxBuffered: 3 << 20}, transport.TCP{}, "127.0.0.1:0")
	for range 4 {
		c := srv.client()
		c.subscribe("x")
		c.subscribe("x.*")
		c.nc.Close()
	}
	waitFor(t, "detached sessions", func() bool { return srv.Stats().Sessions.Detached == 4 })
	for range 40 {
		srv.Publish("x", "e", "", strings.Repeat("a", 100_000))
	}
	waitFor(t, "evicted sessions", func() bool { return srv.Subscribers("x") <= 1 })
}

// fastest returns the shortest of several runs of f.
func fastest(f func()) time.Duration {
	var all []time.Duration
	for range 20 {
		start := time.Now()
		f()
		all = append(all, time.Since(start))
	}
	return slices.Min(all)
}

// What others have subscribed to, and how, does not slow publishers and other sessions down.
func TestSubscriptionsOfOthersCostNothing(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{Heartbeat: -1})
	const depth = 10
	var patterns []string
	for i := range 1000 { // all match the topic except for their last token
		p := ""
		for bit := range depth {
			p += []string{"a.", "*."}[i>>bit&1]
		}
		patterns = append(patterns, p+strings.Repeat("x.", 15)+"*.no")
	}
	hostile := srv.client()
	if n := hostile.subscribeAll(patterns); n != len(patterns) {
		t.Fatalf("got %d subscriptions, want %d", n, len(patterns))
	}
	topic := strings.Repeat("a.", depth) + strings.Repeat("x.", 16) + "yes"
	if d := fastest(func() { srv.Publish(topic, "e", "", 1) }); d > time.Millisecond {
		t.Errorf("publish: got %v, want less than 1 ms", d)
	}
	names := srv.client()
	names.subscribeAll(namesOf("a*b.c>d.%d", 999)) // look like patterns
	d := fastest(func() {
		names.subscribe("a.*")
		names.request("unsubscribe", "a.*")
	})
	if d > time.Millisecond {
		t.Errorf("subscribe and unsubscribe in a session with 999 subscriptions: got %v, want less than 1 ms", d)
	}
}

// Patterns with many tokens and unusual arrangements of wildcards are limited; simple ones are not.
func TestPatternLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c := srv.client()
		c.request("subscribe", strings.Repeat("a.", 40)+"*")
		c.expect(`{"error":"bad input: pattern of 41 tokens, the limit is 32"}`, "EOF")
		c = srv.client()
		c.subscribe(strings.Repeat("a.", 40) + "b")
		accepted := 0
		for i := 0; i < 3; i++ {
			var all []string
			for j := range 1000 {
				n, p := i*1000+j, "*.*.*"
				for bit := range 12 {
					p += []string{".a", ".*"}[n>>bit&1]
				}
				all = append(all, p)
			}
			accepted += srv.client().subscribeAll(all)
		}
		if accepted != 1024 {
			t.Errorf("got %d patterns, want 1024", accepted)
		}
		for _, simple := range []string{"*.*.*.*.*.*", "a.b.c.*.e.f.g.h.i.j", "a.b.c.d.e.f.g.h.>", "a.*.b.>"} {
			c.subscribe(simple)
		}
	})
}

// A session moves its subscriptions out of the groups once, however often it adds and removes a
// pattern, and into them again when it is attached.
func TestPatternsOnAndOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{MaxBuffered: 1 << 20})
		c := srv.client()
		names := namesOf("n.%d", 50) // more than a session has groups
		c.subscribeAll(names)
		all := func(c *testClient) {
			t.Helper()
			for i, name := range names {
				if n, err := srv.Publish(name, "e", "", i); n != 1 || err != nil {
					t.Fatalf("Publish: got %d, %v, want 1 subscriber", n, err)
				}
				c.expect(delivered(name, fmt.Sprint(i)))
			}
		}
		all(c)
		for range 3 {
			c.subscribe("n.>")
			all(c)
			c.request("unsubscribe", "n.>")
			all(c)
		}
		c.nc.Close()
		synctest.Wait()
		srv.Publish(names[0], "e", "", "buffered")
		srv.Publish(names[49], "e", "", "buffered")
		d := srv.client()
		d.request("attach", c.token)
		d.expect(delivered(names[0], `"buffered"`), delivered(names[49], `"buffered"`), "ACK")
		all(d)
		d.request("unsubscribe", names[0])
		names = names[1:]
		synctest.Wait()
		all(d)
		if err := srv.EndSession(c.token); err != nil {
			t.Fatalf("EndSession: got %v, want no error", err)
		}
		d.expect(`{"error":"unknown or expired session"}`, "EOF")
		synctest.Wait()
		if err := srv.EndSession(c.token); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("second EndSession: got %v, want %v", err, session.ErrUnknown)
		}
	})
}

// A web page cannot send frames in the body of an HTTP request: its first line ends the connection.
func TestHTTPIsRefusedAtItsFirstLine(t *testing.T) {
	for _, piece := range []int{5, 1000} {
		synctest.Test(t, func(t *testing.T) {
			srv := newTestServer(t, pubsub.Options{})
			a := srv.client()
			a.subscribe("x")
			c := srv.client()
			stream := "POST /x HTTP/1.1\r\nHost: a\r\n\r\n\x00PUBLISH\x00" + message("x", "1") + "\x00"
			for err := error(nil); err == nil && len(stream) > 0; {
				n := min(piece, len(stream))
				_, err = io.WriteString(c.nc, stream[:n])
				stream = stream[n:]
				synctest.Wait() // the server has read it: unread data would reset the connection
			}
			c.expect(`{"error":"bad input: HTTP is not served here"}`, "EOF")
			synctest.Wait()
			if n := srv.Stats().Published; n != 0 {
				t.Errorf("got %d messages, want none", n)
			}
		})
	}
}
