package natsbroker

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// A message that a topic and a pattern match, or two patterns, is delivered once, also if one of the subscriptions ends
// between its copies.
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
