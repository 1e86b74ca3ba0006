package natsbroker

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
)

// A message that a topic and a pattern match, or two patterns, is delivered once, also if one of
// the subscriptions ends between its copies.
func TestSubscriptionEndsBetweenCopies(t *testing.T) {
	for _, topics := range [][]string{{"o.x", "o.*"}, {"o.*", "*.x"}} {
		t.Run(topics[0], func(t *testing.T) {
			first, second := make(chan struct{}), make(chan struct{})
			copies := 0 // of the shard's goroutine
			dropForTest = func(*nats.Msg) bool {
				if copies++; copies == 2 {
					close(first)
					<-second
				}
				return false
			}
			e := newEngine(t)
			t.Cleanup(func() { dropForTest = nil })
			n := e.node("a")
			n.subscribe(topics...)
			n.publish("o.x", "1")
			<-first
			n.Unsubscribe(topics[0])
			close(second)
			n.publish("o.x", "2")
			n.expect("o.x 1 1", "o.x 2 2")
		})
	}
}

// What is remembered of subscriptions that have ended does not grow while NATS is away.
func TestSubscriptionsWhileAway(t *testing.T) {
	e := newEngine(t)
	n := e.node("a")
	e.stop()
	waitFor(t, "end of the connection", func() bool { return !n.nc.IsConnected() })
	for i := range 1000 {
		n.Subscribe(fmt.Sprint("o", i))
		n.Unsubscribe(fmt.Sprint("o", i))
	}
	waitFor(t, "nothing to be checked", func() bool {
		n.interest.mu.Lock()
		defer n.interest.mu.Unlock()
		return len(n.interest.recent) == 0
	})
}

// lastReceived is a Receiver that keeps the last message.
type lastReceived struct {
	received
	last pubsub.Message
}

func (r *lastReceived) Deliver(m pubsub.Message) {
	r.last = m
	r.received.Deliver(m)
}

// A message that a fill delivers is after the position that a client has, although the topic was
// found to have no message up to a later position.
func TestPreviousAfterCheck(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.broker("b")
	r := &lastReceived{received: received{t: t}}
	stop, err := b.Receive(r)
	if err != nil {
		t.Fatalf("Receive: got %v, want no error", err)
	}
	t.Cleanup(stop)
	n := &node{b, &r.received}
	n.ready()
	first := a.publish("o", "1")
	b.Subscribe("o")
	n.history("o", first, false, 8)
	sh := b.shard("o")
	if err := sh.check(ctx(t), "o", b.stream.Load(), checked{first: 1, last: 1, upTo: 3}); err != nil {
		t.Fatalf("check: got %v, want no error", err)
	}
	dropForTest = func(*nats.Msg) bool { return true }
	t.Cleanup(func() { b.Close(); dropForTest = nil })
	a.publish("o2", "2")
	a.publish("o2", "3")
	a.publish("o", "4")
	if err := b.check(ctx(t), []string{"o"}); err != nil {
		t.Fatalf("check: got %v, want no error", err)
	}
	n.expect("o 4 4")
	sh.work.Lock()
	defer sh.work.Unlock()
	if r.last.Previous != first.Offset {
		t.Errorf("previous: got %d, want %d", r.last.Previous, first.Offset)
	}
}
