package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/ranch"
	"goranch/transport"
)

// newServer returns a topic server with a broker, and a client of it.
func newServer(t *testing.T, e *engine, name string) (*pubsub.Server, *client.Client) {
	t.Helper()
	b := e.broker(name)
	s, err := pubsub.NewServer(pubsub.Options{Broker: b})
	if err != nil {
		t.Fatalf("NewServer: got %v, want no error", err)
	}
	mem := new(transport.Mem)
	l, err := new(ranch.Server).StartListener("topics", mem, ranch.Options{Addr: "topics", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatalf("StartListener: got %v, want no error", err)
	}
	t.Cleanup(func() {
		l.Stop()
		s.Close(context.Background())
	})
	c, err := client.Dial(ctx(t), client.Options{Addr: "topics", Transport: mem})
	if err != nil {
		t.Fatalf("Dial: got %v, want no error", err)
	}
	t.Cleanup(func() { c.Close() })
	waitFor(t, "stream", func() bool { return s.Degraded() == nil && b.Degraded() == nil })
	return s, c
}

// next returns the data and offsets of the next messages.
func next(t *testing.T, s *client.Subscription, n int) (got []string) {
	t.Helper()
	for range n {
		m, err := s.Next(ctx(t))
		if err != nil {
			t.Fatalf("Next: got %v after %q, want no error", err, got)
		}
		got = append(got, fmt.Sprintf("%s@%d", m.Data, m.Offset))
	}
	return got
}

// Clients of two servers see one order, continue on one after what they have received on the other,
// and publish once; while the engine is away they are told.
func TestServers(t *testing.T) {
	e := newEngine(t)
	s, onA := newServer(t, e, "a")
	_, onB := newServer(t, e, "b")
	subscribe := func(c *client.Client, since *pubsub.Position) *client.Subscription {
		t.Helper()
		sub, err := c.Subscribe(ctx(t), "o", client.SubscribeOptions{Since: since, OnGap: func(from, to pubsub.Position) {
			t.Errorf("got a gap from %+v to %+v, want none", from, to)
		}})
		if err != nil {
			t.Fatalf("Subscribe: got %v, want no error", err)
		}
		return sub
	}
	publish := func(c *client.Client, data int) pubsub.Published {
		t.Helper()
		p, err := c.PublishKey(ctx(t), fmt.Sprint("key", data), "o", "e", "", data)
		if err != nil {
			t.Fatalf("PublishKey: got %v, want no error", err)
		}
		return p
	}
	first := subscribe(onA, new(pubsub.Position))
	publish(onA, 1)
	publish(onB, 2)
	publish(onA, 3)
	if again := publish(onB, 1); again.Position.Offset != 1 {
		t.Errorf("published again on another server: got %+v, want offset 1", again)
	}
	if diff := cmp.Diff([]string{"1@1"}, next(t, first, 1)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	at := first.Position()
	at.Offset = 1
	second := subscribe(onB, &at)
	publish(onB, 4)
	for _, sub := range []*client.Subscription{first, second} {
		if diff := cmp.Diff([]string{"2@2", "3@3", "4@4"}, next(t, sub, 3)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}

	e.stop()
	waitFor(t, "degraded state", func() bool { return s.Degraded() != nil })
	if _, err := onA.PublishKey(ctx(t), "key5", "o", "e", "", 5); !errors.Is(err, client.ErrNotPublished) {
		t.Errorf("PublishKey while the engine is away: got %v, want ErrNotPublished", err)
	}
	e.start()
	waitFor(t, "stream", func() bool { return s.Degraded() == nil })
	waitFor(t, "publish", func() bool {
		_, err := onB.PublishKey(ctx(t), "key5", "o", "e", "", 5)
		return err == nil
	})
	publish(onA, 6)
	for _, sub := range []*client.Subscription{first, second} {
		if diff := cmp.Diff([]string{"5@5", "6@6"}, next(t, sub, 2)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}
}
