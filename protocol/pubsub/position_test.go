package pubsub_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/pubsub"
)

// subscribedTo is the answer to a subscribe request with since.
type subscribedTo struct {
	Subscribed string
	pubsub.Position
	Recovered bool
}

// subscribeSince subscribes and returns the position in the answer.
func (c *testClient) subscribeSince(topic, since string) subscribedTo {
	c.t.Helper()
	c.write(subscribeRequest(topic, `,"since":`+since) + "\x00")
	c.expect("ACK")
	var got subscribedTo
	if f := c.frame(); json.Unmarshal([]byte(f), &got) != nil || got.Subscribed != topic || got.Epoch == "" {
		c.t.Fatalf("got %s, want a frame with subscribed, epoch, offset and recovered", f)
	}
	return got
}

func position(p pubsub.Position) string {
	b, _ := json.Marshal(p)
	return string(b)
}

// numbered is a message with an offset.
func numbered(topic, data string, offset uint64) string {
	return strings.TrimSuffix(delivered(topic, data), "}") + fmt.Sprintf(`,"offset":%d}`, offset)
}

// A client that subscribes again with its last position receives what it has missed, or hears that
// not all of it is kept.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{History: 3})
		publish := func(data int) { srv.Publish("x", "e", "", data) }
		publish(0)
		c, plain := srv.client(), srv.client()
		start := c.subscribeSince("x", "{}")
		plain.subscribe("x")
		if start.Offset == 0 || !start.Recovered {
			t.Errorf("got %+v, want a position after the first message, recovered", start)
		}
		for i := range 5 {
			publish(i + 1)
			c.expect(numbered("x", fmt.Sprint(i+1), start.Offset+uint64(i)+1))
			plain.expect(delivered("x", fmt.Sprint(i+1)))
		}
		at := func(n int) pubsub.Position {
			return pubsub.Position{Epoch: start.Epoch, Offset: uint64(int(start.Offset) + n)}
		}
		for _, tt := range []struct {
			name      string
			since     pubsub.Position
			from      pubsub.Position
			recovered bool
			missed    []int
		}{
			{"nothing missed", at(5), at(5), true, nil},
			{"some", at(3), at(3), true, []int{4, 5}},
			{"all that is kept", at(2), at(2), true, []int{3, 4, 5}},
			{"more than is kept", at(1), at(2), false, []int{3, 4, 5}},
			{"later than the last message", at(6), at(2), false, []int{3, 4, 5}},
			{"another epoch", pubsub.Position{Epoch: "other", Offset: at(5).Offset}, at(2), false, []int{3, 4, 5}},
		} {
			again := srv.client()
			for range 2 { // a request can be repeated
				got := again.subscribeSince("x", position(tt.since))
				if diff := cmp.Diff(subscribedTo{"x", tt.from, tt.recovered}, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
				for _, n := range tt.missed {
					again.expect(numbered("x", fmt.Sprint(n), at(n).Offset))
				}
			}
			again.nc.Close()
			synctest.Wait()
		}
	})
}

// A subscription gets offsets from the request on that asks for them, and keeps its order; what a
// detached session buffers has them too.
func TestOffsetsOfSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c := srv.client()
		c.subscribe("x")
		srv.Publish("x", "e", "", 1)
		c.expect(delivered("x", "1"))
		at := c.subscribeSince("x", "{}").Offset
		srv.Publish("x", "e", "", 2)
		c.request("subscribe", "x.>") // all of its messages come through its session now
		synctest.Wait()
		srv.Publish("x", "e", "", 3)
		c.expect(numbered("x", "2", at+1), "ACK", numbered("x", "3", at+2))
		c.nc.Close()
		synctest.Wait()
		srv.Publish("x", "e", "", 4)
		again := srv.client()
		again.request("attach", c.token)
		again.expect(numbered("x", "4", at+3), "ACK")
		again.request("unsubscribe", "x")
		again.subscribe("x")
		srv.Publish("x", "e", "", 5)
		again.expect(delivered("x", "5"))
	})
}

// The offsets of a topic grow, and its epoch stays, although the topic was removed in between.
func TestOffsetsAfterRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{Retain: time.Second})
		var last pubsub.Position
		for range 3 {
			c := srv.client()
			got := c.subscribeSince("x", "{}")
			if got.Offset < last.Offset || last.Epoch != "" && got.Epoch != last.Epoch {
				t.Errorf("got position %+v after %+v", got, last)
			}
			srv.Publish("x", "e", "", 1)
			srv.Publish("other", "e", "", 1)
			c.expect(numbered("x", "1", got.Offset+1))
			last = pubsub.Position{Epoch: got.Epoch, Offset: got.Offset + 1}
			c.request("unsubscribe", "x")
			c.nc.Close()
			time.Sleep(time.Hour)
			if n := srv.Stats().Topics; n != 0 {
				t.Fatalf("got %d topics, want 0", n)
			}
		}
		srv.Publish("x", "e", "", 1)
		time.Sleep(time.Hour)
		if got := srv.client().subscribeSince("x", position(last)); got.Recovered {
			t.Errorf("got %+v for the position %+v and a message that is gone, want recovered false", got, last)
		}
	})
}

func TestInvalidPositions(t *testing.T) {
	for _, tt := range []struct {
		name, topic, since string
		opts               pubsub.Options
		want               string
	}{
		{name: "a number", topic: "x", since: "7", want: "since: json: cannot unmarshal number"},
		{name: "negative", topic: "x", since: `{"epoch":"e","offset":-1}`, want: "since: json: cannot unmarshal number -1"},
		{name: "too large", topic: "x", since: `{"epoch":"e","offset":18446744073709551616}`, want: "since: json: cannot unmarshal number"},
		{name: "unknown member", topic: "x", since: `{"epoch":"e","ofset":1}`, want: "since: json: unknown field"},
		{name: "no epoch", topic: "x", since: `{"offset":1}`, want: "since: offset 1 without an epoch"},
		{name: "long epoch", topic: "x", since: `{"epoch":"` + strings.Repeat("e", 129) + `"}`, want: "since: epoch of 129 bytes, the limit is 128"},
		{name: "a pattern", topic: "x.*", since: "{}", want: "a pattern has no positions"},
		{name: "with history", topic: "x", since: `{},"history":3`, want: "last and history are allowed only without it"},
		{name: "no history", topic: "x", since: "{}", opts: pubsub.Options{History: -1}, want: "topics without a history have no positions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTestServer(t, tt.opts).client()
				c.write(subscribeRequest(tt.topic, `,"since":`+tt.since) + "\x00")
				if got := c.frame(); !strings.HasPrefix(got, `{"error":"bad input: `) || !strings.Contains(got, tt.want) {
					t.Errorf("got %s, want an error with %q", got, tt.want)
				}
				c.expect("EOF")
			})
		})
	}
}
