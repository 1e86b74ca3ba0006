package client_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

// awayBroker is a broker that is away for some requests.
type awayBroker struct {
	pubsub.Broker
	away atomic.Int32 // requests
}

func (b *awayBroker) err() error {
	if b.away.Add(-1) >= 0 {
		return errors.New("no route")
	}
	return nil
}

func (b *awayBroker) Publish(ctx context.Context, topic, key string, frame []byte) (pubsub.Position, error) {
	if err := b.err(); err != nil {
		return pubsub.Position{}, err
	}
	return b.Broker.Publish(ctx, topic, key, frame)
}

func (b *awayBroker) History(ctx context.Context, topic string, since pubsub.Position, last bool, limit int) (pubsub.Recovery, error) {
	if err := b.err(); err != nil {
		return pubsub.Recovery{}, err
	}
	return b.Broker.History(ctx, topic, since, last, limit)
}

// While the broker is away, a publish fails and leaves the connection open; a subscription waits,
// and is requested again.
func TestUnavailable(t *testing.T) {
	hub := &pubsub.MemoryHub{Ordered: func(string) bool { return true }}
	b := &awayBroker{Broker: hub.Join()}
	srv := newTestServer(t, pubsub.Options{Broker: b})
	var log eventLog
	opts := client.Options{Transport: srv.mem, Addr: "topics"}
	log.register(&opts)
	ctx := context.Background()
	c, err := client.Dial(ctx, opts)
	if err != nil {
		t.Fatalf("Dial: got %v, want no error", err)
	}
	defer c.Close()
	b.away.Store(1)
	if _, err := c.PublishKey(ctx, "k", "x", "e", "", 1); !errors.Is(err, client.ErrNotPublished) || !strings.HasSuffix(err.Error(), "unavailable: no route") {
		t.Errorf("PublishKey: got %v, want ErrNotPublished and the reason", err)
	}
	first, err := c.PublishKey(ctx, "k", "x", "e", "", 1)
	if again, err2 := c.PublishKey(ctx, "k", "x", "e", "", 1); err != nil || err2 != nil || again != first || first.Position.Offset != 1 {
		t.Errorf("PublishKey twice: got %+v, %v, and %+v, %v, want the offset 1 twice", first, err, again, err2)
	}
	b.away.Store(2)
	s, err := c.Subscribe(ctx, "x", client.SubscribeOptions{Since: &pubsub.Position{Epoch: first.Position.Epoch}})
	if err != nil {
		t.Fatalf("Subscribe: got %v, want no error", err)
	}
	if m, err := s.Next(ctx); err != nil || m.Offset != 1 {
		t.Errorf("Next: got %+v, %v, want offset 1", m, err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	want := "connected, disconnected, disconnected, session lost, 1 resubscribed" // its session had no subscription
	if got := strings.Join(log.events, ", "); got != want {
		t.Errorf("events: got %s, want %s", got, want)
	}
	if n := srv.Stats().Published; n != 1 {
		t.Errorf("got %d messages, want 1", n)
	}
}
