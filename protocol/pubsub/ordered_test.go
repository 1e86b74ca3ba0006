package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/pubsub"
)

// isOrdered makes the topics ordered whose names begin with "o".
func isOrdered(topic string) bool { return strings.HasPrefix(topic, "o") }

// hookedBroker is a broker whose answers a test replaces.
type hookedBroker struct {
	pubsub.Broker
	receiver pubsub.Receiver
	history  func(r pubsub.Recovery, err error) (pubsub.Recovery, error)
	publish  error
	deliver  func(m pubsub.Message) bool
}

func (b *hookedBroker) Publish(ctx context.Context, topic, key string, frame []byte) (pubsub.Position, error) {
	if b.publish != nil {
		return pubsub.Position{}, b.publish
	}
	return b.Broker.Publish(ctx, topic, key, frame)
}

func (b *hookedBroker) History(ctx context.Context, topic string, since pubsub.Position, last bool, limit int) (pubsub.Recovery, error) {
	r, err := b.Broker.History(ctx, topic, since, last, limit)
	if b.history != nil {
		return b.history(r, err)
	}
	return r, err
}

// hookedReceiver drops what hookedBroker.deliver returns false for.
type hookedReceiver struct {
	pubsub.Receiver
	b *hookedBroker
}

func (r hookedReceiver) Deliver(m pubsub.Message) {
	if r.b.deliver == nil || r.b.deliver(m) {
		r.Receiver.Deliver(m)
	}
}

func (b *hookedBroker) Receive(r pubsub.Receiver) (stop func(), err error) {
	b.receiver = hookedReceiver{r, b}
	return b.Broker.Receive(b.receiver)
}

// newConnectedServers returns two servers whose topics that begin with "o" are ordered.
func newConnectedServers(t *testing.T, opts pubsub.Options) (a, b *testServer, broker *hookedBroker) {
	t.Helper()
	hub := &pubsub.MemoryHub{Ordered: isOrdered, Keep: 4}
	broker = &hookedBroker{Broker: hub.Join()}
	first, second := opts, opts
	first.Broker, second.Broker = hub.Join(), broker
	return newTestServer(t, first), newTestServer(t, second), broker
}

// withOffset is numbered with the offset of the message before it.
func withOffset(topic, data string, offset, previous uint64) string {
	if previous == offset-1 {
		return numbered(topic, data, offset)
	}
	return strings.TrimSuffix(delivered(topic, data), "}") + fmt.Sprintf(`,"previous":%d,"offset":%d}`, previous, offset)
}

// A position of an ordered topic holds on all servers.
func TestOrderedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := newConnectedServers(t, pubsub.Options{History: 3})
		onA, onB, plain := a.client(), b.client(), b.client()
		start := onA.subscribeSince("o", "{}")
		plain.subscribe("o")
		for i, srv := range []*testServer{a, b, a} {
			srv.publish("o", fmt.Sprint(i))
			srv.Publish("x", "e", "", 1)
		}
		if got := onB.subscribeSince("o", position(start.Position)); got != start {
			t.Errorf("got %+v, want %+v", got, start)
		}
		for _, c := range []*testClient{onA, onB} {
			for i := range uint64(3) {
				c.expect(withOffset("o", fmt.Sprint(i), i+1, i))
			}
		}
		plain.expect(delivered("o", "0"), delivered("o", "1"), delivered("o", "2"))
		b.publish("o", "3")
		b.publish("o", "4")
		again := a.client()
		if got := again.subscribeSince("o", position(start.Position)); got.Recovered || got.Offset != 2 {
			t.Errorf("since the first of five messages, of which three are kept: got %+v, want not recovered, from 2", got)
		}
		for i := range uint64(3) {
			again.expect(numbered("o", fmt.Sprint(i+2), i+3))
		}
		last := a.client()
		last.write(subscribeRequest("o", `,"history":2`) + "\x00")
		last.expect("ACK", delivered("o", "3"), delivered("o", "4"))
	})
}

// A server that was not subscribed to a topic asks the broker, and again while the answer ends
// before what it has received itself.
func TestJoinHistory(t *testing.T) {
	for _, tt := range []struct {
		name      string
		stale     int  // the broker answers so often without the messages
		meanwhile bool // a message arrives before the first answer
		want      []string
		recovered bool
	}{
		{"at once", 0, false, []string{"0", "1"}, true},
		{"message meanwhile", 0, true, []string{"0", "1", "2"}, true},
		{"late answer", 1, true, []string{"0", "1", "2"}, true},
		{"no answer", 99, true, []string{"2"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, broker := newConnectedServers(t, pubsub.Options{})
				start := a.client().subscribeSince("o", "{}")
				a.publish("o", "0")
				a.publish("o", "1")
				asked := 0
				broker.history = func(r pubsub.Recovery, err error) (pubsub.Recovery, error) {
					asked++
					if asked <= tt.stale {
						r.Messages = nil
					}
					if tt.meanwhile && asked == 1 {
						a.publish("o", "2")
					}
					return r, err
				}
				c := b.client()
				if got := c.subscribeSince("o", position(start.Position)); got.Recovered != tt.recovered {
					t.Errorf("got %+v, want recovered %t", got, tt.recovered)
				}
				a.publish("o", "9")
				offset := start.Offset + 4 - uint64(len(tt.want))
				if !tt.meanwhile {
					offset = start.Offset + 1
				}
				for _, data := range append(tt.want, "9") {
					c.expect(numbered("o", data, offset))
					offset++
				}
			})
		})
	}
}

// A message that the broker's history has before it is delivered reaches each subscriber once.
func TestMessageInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		start := a.client().subscribeSince("o", "{}")
		plain, c := b.client(), b.client()
		plain.subscribe("o")
		var inFlight []pubsub.Message
		broker.deliver = func(m pubsub.Message) bool {
			inFlight = append(inFlight, m)
			return false
		}
		a.publish("o", "0")
		c.subscribeSince("o", position(start.Position))
		c.expect(numbered("o", "0", start.Offset+1))
		a.publish("o", "1")
		broker.deliver = nil
		for _, m := range append(inFlight, inFlight...) { // twice, which is ignored
			broker.receiver.Deliver(m)
		}
		a.publish("o", "2")
		c.expect(numbered("o", "1", start.Offset+2), numbered("o", "2", start.Offset+3))
		plain.expect(delivered("o", "0"), delivered("o", "1"), delivered("o", "2"))

		inFlight = nil
		broker.deliver = func(m pubsub.Message) bool {
			inFlight = append(inFlight, m)
			return false
		}
		a.publish("o", "3")
		late := b.client()
		late.write(subscribeRequest("o", `,"history":9`) + "\x00")
		late.expect("ACK", delivered("o", "0"), delivered("o", "1"), delivered("o", "2"))
		broker.deliver = nil
		broker.receiver.Deliver(inFlight[0])
		a.publish("o", "4")
		late.expect(delivered("o", "3"), delivered("o", "4"))
	})
}

// What a server has received of a topic before it was subscribed to it is no history: messages are
// missing.
func TestHistoryIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		start := a.client().subscribeSince("o", "{}").Position
		pattern := b.client()
		pattern.subscribe("*")
		publish := func(data string, arrives bool) {
			broker.deliver = func(pubsub.Message) bool { return arrives }
			a.publish("o", data)
			broker.deliver = nil
		}
		publish("0", true)
		publish("1", false)
		c := b.client()
		c.subscribeSince("o", position(start))
		c.expect(numbered("o", "0", 1), numbered("o", "1", 2))
		publish("2", true)
		c.expect(numbered("o", "2", 3))
		c.request("unsubscribe", "o")
		synctest.Wait()
		publish("3", false)
		again := b.client()
		again.subscribeSince("o", position(start))
		again.expect(numbered("o", "0", 1), numbered("o", "1", 2), numbered("o", "2", 3), numbered("o", "3", 4))
	})
}

// A gap is announced to subscriptions with positions.
func TestAnnouncedGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		c, plain := b.client(), b.client()
		start := c.subscribeSince("o", "{}")
		plain.subscribe("o")
		broker.deliver = func(m pubsub.Message) bool { return m.Position.Offset > 2 }
		a.publish("o", "0")
		a.publish("o", "1")
		broker.receiver.Gap("o", pubsub.Position{Epoch: start.Epoch, Offset: 2})
		a.publish("o", "2")
		c.expect(fmt.Sprintf(`{"subscribed":"o","epoch":%q,"offset":2,"recovered":false}`, start.Epoch), numbered("o", "2", 3))
		plain.expect(delivered("o", "2"))
		if n := b.Stats().Gaps; n != 1 {
			t.Errorf("got %d gaps, want 1", n)
		}
	})
}

// A gap is not announced to a subscription that has received the missing messages from the broker's
// history.
func TestGapBehindSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		start := a.client().subscribeSince("o", "{}")
		b.client().subscribe("o")
		broker.deliver = func(m pubsub.Message) bool { return m.Position.Offset > 3 }
		for _, data := range []string{"0", "1", "2"} {
			a.publish("o", data)
		}
		c := b.client()
		c.subscribeSince("o", position(pubsub.Position{Epoch: start.Epoch, Offset: start.Offset}))
		c.expect(numbered("o", "0", 1), numbered("o", "1", 2), numbered("o", "2", 3))
		broker.receiver.Gap("o", pubsub.Position{Epoch: start.Epoch, Offset: 3})
		a.publish("o", "3")
		c.expect(numbered("o", "3", 4))
	})
}

// A subscription that begins before the server has received a message, with the history of an epoch
// that ends then, hears of the next epoch and receives its messages, although their offsets are
// lower.
func TestEpochEndsAfterSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		start := a.client().subscribeSince("o", "{}")
		b.client().subscribe("o") // so that the subscription below does not begin the history of the server
		broker.deliver = func(pubsub.Message) bool { return false }
		a.publish("o", "0")
		c := b.client()
		c.subscribeSince("o", position(pubsub.Position{Epoch: start.Epoch, Offset: start.Offset}))
		c.expect(numbered("o", "0", 1))
		var m pubsub.Message
		broker.deliver = func(last pubsub.Message) bool { m = last; return false }
		a.publish("o", "1")
		broker.receiver.Gap("o", pubsub.Position{Epoch: "next"})
		broker.deliver = nil
		m.Position, m.Previous = pubsub.Position{Epoch: "next", Offset: 1}, 0
		broker.receiver.Deliver(m)
		c.expect(`{"subscribed":"o","epoch":"next","offset":0,"recovered":false}`, numbered("o", "1", 1))
	})
}

// A message is published once per key, on whichever server, and a publish that the broker does not
// accept is refused without an end of the connection.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{MaxKeys: 4, Heartbeat: -1})
		c := a.client()
		c.subscribe("o")
		c.subscribe("x")
		publish := func(srv *testServer, topic, key string) string {
			p := srv.client()
			p.write(`{"action":"publish","data":` + message(topic, "1") + `,"key":"` + key + `","id":7}` + "\x00")
			return p.frame()
		}
		start := a.client().subscribeSince("o", "{}")
		ordered := fmt.Sprintf(`{"published":%%d,"epoch":%q,"offset":%d,"id":7}`, start.Epoch, start.Offset+1)
		local := publish(a, "x", "k")
		c.expect(delivered("x", "1"))
		for _, tt := range []struct{ name, got, want string }{
			{"again", publish(a, "x", "k"), local},
			{"another topic", publish(a, "o", "k"), fmt.Sprintf(ordered, 2)},
			{"again, ordered", publish(a, "o", "k"), fmt.Sprintf(ordered, 2)},
			{"another server", publish(b, "o", "k"), fmt.Sprintf(ordered, 0)},
		} {
			if tt.got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
			}
		}
		c.expect(delivered("o", "1"))
		broker.publish = errors.New("no route")
		want := `{"refused":"unavailable: no route","id":7}`
		if got := publish(b, "o", "k2"); got != want {
			t.Errorf("a broker that is away: got %s, want %s", got, want)
		}
		broker.publish = nil
		for i := range 3 {
			publish(b, "x", fmt.Sprint("other", i))
			c.expect(delivered("x", "1"))
		}
		want = `{"refused":"bad input: key: at most 4 messages with keys within 2m0s","id":7}`
		if got := publish(b, "x", "fifth"); got != want {
			t.Errorf("a key too many: got %s, want %s", got, want)
		}
		time.Sleep(pubsub.KeyWindow)
		publish(a, "x", "k")
		c.expect(delivered("x", "1"))
	})
}

// The number of subscribers is that of all servers, and the state of the broker is known.
func TestPresenceAndState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, broker := newConnectedServers(t, pubsub.Options{})
		for _, srv := range []*testServer{a, a, b} {
			srv.client().subscribe("x.*")
		}
		c := b.client()
		c.request("presence", "x.*")
		c.expect(`{"subscribers":3}`)
		broker.receiver.State(errors.New("away"))
		if err := b.Degraded(); err == nil || err.Error() != "away" {
			t.Errorf("Degraded: got %v, want away", err)
		}
		broker.receiver.State(nil)
		if diff := cmp.Diff(nil, b.Degraded()); diff != "" {
			t.Errorf("Degraded (-want +got):\n%s", diff)
		}
	})
}
