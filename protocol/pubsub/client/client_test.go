package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

func equal(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestSubscribeAndPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, d := tn.dial(client.Options{})
		ctx := t.Context()
		tn.publish("a.x", 1, 2, 3)
		var got []client.Message
		handled := subscribe(t, c, "a.*", client.Subscription{Handler: func(m client.Message) { got = append(got, m) }})
		s := subscribe(t, c, "a.y", client.Subscription{})
		if n, err := c.Publish(ctx, "a.y", "made", "7", map[string]int{"k": 1}); n != 1 || err != nil {
			t.Errorf("%d subscribers, %v", n, err)
		}
		equal(t, "channel", []string{`{"k":1}`}, data(t, s, 1))
		want := []client.Message{{Topic: "a.y", Event: "made", ID: "7", Time: time.Now(), Data: []byte(`{"k":1}`)}}
		equal(t, "handler", want, got)
		if n, err := c.Presence(ctx, "a.y"); n != 1 || err != nil {
			t.Errorf("presence %d, %v", n, err)
		}
		if _, err := c.Subscribe(ctx, "a.y", client.Subscription{}); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("twice: %v", err)
		}
		handled.Unsubscribe()
		handled.Unsubscribe()
		if n, err := c.Publish(ctx, "a.z", "", "", nil); n != 0 || err != nil || handled.Err() != client.ErrUnsubscribed {
			t.Errorf("after unsubscribing: %d, %v, %v", n, err, handled.Err())
		}
		last := subscribe(t, c, "a.x", client.Subscription{History: 2})
		equal(t, "history", []string{"2", "3"}, data(t, last, 2))
		equal(t, "events", []client.Kind{client.Connected}, d.kinds())
		equal(t, "stats", client.Stats{Messages: 3}, c.Stats())
		c.Close()
		if _, err := s.Next(ctx); err != client.ErrClosed || s.Err() != client.ErrClosed {
			t.Errorf("after the end: %v, %v", err, s.Err())
		}
		_, err1 := c.Publish(ctx, "x", "", "", 1)
		_, err2 := c.Subscribe(ctx, "x", client.Subscription{})
		if err1 != client.ErrClosed || err2 != client.ErrClosed || c.Err() != client.ErrClosed {
			t.Errorf("after the end: %v, %v, %v", err1, err2, c.Err())
		}
	})
}

func TestBadArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, _ := tn.dial(client.Options{MaxFrame: 1000})
		for _, tt := range []struct {
			name string
			opts client.Subscription
		}{{"", client.Subscription{}}, {"a", client.Subscription{Buffer: -1}}, {"a", client.Subscription{History: -1}},
			{"a", client.Subscription{Full: 3}}, {"a.*", client.Subscription{Last: true}}, {"a\x00b", client.Subscription{}},
			{strings.Repeat("x", 2000), client.Subscription{}}} {
			if s, err := c.Subscribe(t.Context(), tt.name, tt.opts); err == nil || s != nil {
				t.Errorf("Subscribe(%.20q, %+v) is taken", tt.name, tt.opts)
			}
		}
		if _, err := c.Publish(t.Context(), "a", "", "", func() {}); err == nil {
			t.Error("a function is published")
		}
		if _, err := c.Publish(t.Context(), "a", "", "", strings.Repeat("x", 1000)); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("too long: %v", err)
		}
		_, err := client.Dial(t.Context(), client.Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1, MaxFrame: -1})
		for _, f := range []string{"MinBackoff", "MaxAttempts", "DialTimeout", "MaxFrame"} {
			if err == nil || !strings.Contains(err.Error(), f) {
				t.Errorf("%s is not in %v", f, err)
			}
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

// What the server does not allow is told to who has asked, and only to them.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{Authorize: func(_ *pubsub.Client, a pubsub.Action, topic string) error {
			if strings.HasPrefix(topic, "secret") {
				return errors.New("not for you")
			}
			return nil
		}})
		c, d := tn.dial(client.Options{})
		open := subscribe(t, c, "open", client.Subscription{})
		ctx := t.Context()
		_, err := c.Subscribe(ctx, "secret", client.Subscription{})
		if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "not for you") {
			t.Errorf("subscribe: %v", err)
		}
		if _, err := c.Publish(ctx, "secret", "", "", 1); !errors.Is(err, client.ErrRefused) {
			t.Errorf("publish: %v", err)
		}
		if _, err := c.Presence(ctx, "secret"); !errors.Is(err, client.ErrRefused) {
			t.Errorf("presence: %v", err)
		}
		if n, err := c.Publish(ctx, "open", "", "", 1); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		equal(t, "the other subscription", []string{"1"}, data(t, open, 1))
		synctest.Wait()
		equal(t, "events", []client.Kind{client.Connected, client.Refused, client.Lost, client.Resumed,
			client.Lost, client.Resumed, client.Lost, client.Resumed}, d.kinds())
	})
}

// Contexts end what waits for a server that says nothing, and leave no trace of it.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, _ := tn.dial(client.Options{})
		tn.stop()
		synctest.Wait()
		cause := errors.New("enough")
		for name, f := range map[string]func(context.Context) error{
			"subscribe": func(ctx context.Context) error { _, err := c.Subscribe(ctx, "a", client.Subscription{}); return err },
			"publish":   func(ctx context.Context) error { _, err := c.Publish(ctx, "a", "", "", 1); return err },
			"presence":  func(ctx context.Context) error { _, err := c.Presence(ctx, "a"); return err },
		} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
			if err := f(ctx); err != cause {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		tn.listen(&says{})
		if _, err := client.Dial(ctx, client.Options{Transport: tn.mem, Addr: "topics"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a greeting: %v", err)
		}
		tn.l.Stop()
		tn.start(pubsub.Options{})
		s := subscribe(t, c, "a", client.Subscription{})
		tn.publish("a", 1)
		equal(t, "data", []string{"1"}, data(t, s, 1))
	})
}

func TestFullChannels(t *testing.T) {
	for _, tt := range []struct {
		full    client.Full
		want    []string
		dropped uint64
	}{
		{client.DropNewest, []string{"1", "2"}, 3},
		{client.DropOldest, []string{"4", "5"}, 3},
		{client.Wait, []string{"1", "2", "3", "4", "5"}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			tn := found(t, pubsub.Options{})
			c, d := tn.dial(client.Options{})
			s := subscribe(t, c, "a", client.Subscription{Buffer: 2, Full: tt.full})
			tn.publish("a", 1, 2, 3, 4, 5)
			synctest.Wait()
			equal(t, "data", tt.want, data(t, s, len(tt.want)))
			if n := c.Stats().Dropped; n != tt.dropped || len(d.kinds()) != 1+int(tt.dropped) || len(s.C()) != 0 {
				t.Errorf("policy %d: %d dropped, %d left", tt.full, n, len(s.C()))
			}
		})
	}
}

// A subscription whose channel is full does not keep the client from ending.
func TestCloseWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := found(t, pubsub.Options{})
		c, _ := tn.dial(client.Options{})
		subscribe(t, c, "a", client.Subscription{Buffer: 1, Full: client.Wait})
		tn.publish("a", 1, 2, 3)
		synctest.Wait()
		c.Close()
	})
}
