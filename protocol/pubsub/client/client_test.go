package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

func TestSubscribeAndPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, log := srv.dial(client.Options{})
		ctx := t.Context()
		srv.publish("a.x", 1, 2, 3)
		var got []client.Message
		handled := subscribe(t, c, "a.*", client.SubscribeOptions{Handler: func(m client.Message) { got = append(got, m) }})
		s := subscribe(t, c, "a.y", client.SubscribeOptions{})
		if n, err := c.Publish(ctx, "a.y", "made", "7", map[string]int{"k": 1}); n != 1 || err != nil {
			t.Errorf("Publish: got %d, %v, want 1 subscriber", n, err)
		}
		checkEqual(t, "data in the channel", receive(t, s, 1), []string{`{"k":1}`})
		want := []client.Message{{Topic: "a.y", Event: "made", ID: "7", Time: time.Now(), Data: []byte(`{"k":1}`)}}
		checkEqual(t, "messages to the handler", got, want)
		if n, err := c.Presence(ctx, "a.y"); n != 1 || err != nil {
			t.Errorf("Presence: got %d, %v, want 1", n, err)
		}
		if _, err := c.Subscribe(ctx, "a.y", client.SubscribeOptions{}); !errors.Is(err, client.ErrSubscribed) {
			t.Errorf("second Subscribe: got %v, want %v", err, client.ErrSubscribed)
		}
		handled.Unsubscribe()
		handled.Unsubscribe()
		if n, err := c.Publish(ctx, "a.z", "", "", nil); n != 0 || err != nil || handled.Err() != client.ErrUnsubscribed {
			t.Errorf("after Unsubscribe: got %d, %v, and the subscription's error %v, want 0 and %v", n, err, handled.Err(), client.ErrUnsubscribed)
		}
		last := subscribe(t, c, "a.x", client.SubscribeOptions{History: 2})
		checkEqual(t, "history", receive(t, last, 2), []string{"2", "3"})
		checkEqual(t, "events", log.take(), []string{"connected"})
		checkEqual(t, "stats", c.Stats(), client.Stats{Messages: 3})
		c.Close()
		if _, err := s.Next(ctx); err != client.ErrClosed || s.Err() != client.ErrClosed {
			t.Errorf("subscription after Close: got %v, %v, want %v", err, s.Err(), client.ErrClosed)
		}
		_, err1 := c.Publish(ctx, "x", "", "", 1)
		_, err2 := c.Subscribe(ctx, "x", client.SubscribeOptions{})
		if err1 != client.ErrClosed || err2 != client.ErrClosed || c.Err() != client.ErrClosed {
			t.Errorf("client after Close: got %v, %v, %v, want %v", err1, err2, c.Err(), client.ErrClosed)
		}
	})
}

func TestBadArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, _ := srv.dial(client.Options{MaxFrame: 1000})
		for _, tt := range []struct {
			name string
			opts client.SubscribeOptions
		}{{"", client.SubscribeOptions{}}, {"a", client.SubscribeOptions{Buffer: -1}}, {"a", client.SubscribeOptions{History: -1}},
			{"a", client.SubscribeOptions{Overflow: protocol.CloseSlow}}, {"a.*", client.SubscribeOptions{Last: true}}, {"a\x00b", client.SubscribeOptions{}},
			{strings.Repeat("x", 2000), client.SubscribeOptions{}}} {
			if s, err := c.Subscribe(t.Context(), tt.name, tt.opts); err == nil || s != nil {
				t.Errorf("Subscribe(%.20q, %+v): got %v, want an error", tt.name, tt.opts, s)
			}
		}
		if _, err := c.Publish(t.Context(), "a", "", "", func() {}); err == nil {
			t.Error("Publish of a function: got no error, want one")
		}
		if _, err := c.Publish(t.Context(), "a", "", "", strings.Repeat("x", 1000)); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("Publish of 1000 bytes: got %v, want %v", err, protocol.ErrFrameTooLarge)
		}
		_, err := client.Dial(t.Context(), client.Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1, MaxFrame: -1})
		for _, f := range []string{"MinBackoff", "MaxAttempts", "DialTimeout", "MaxFrame"} {
			if err == nil || !strings.Contains(err.Error(), f) {
				t.Errorf("Dial: got %v, want it to contain %s", err, f)
			}
		}
		if err := c.Err(); err != nil {
			t.Errorf("client: got %v, want no error", err)
		}
	})
}

// The error of a refused request reaches its caller and no other.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{Authorize: func(_ *pubsub.Client, a pubsub.Action, topic string) error {
			if strings.HasPrefix(topic, "secret") {
				return errors.New("no access")
			}
			return nil
		}})
		c, log := srv.dial(client.Options{})
		open := subscribe(t, c, "open", client.SubscribeOptions{})
		ctx := t.Context()
		_, err := c.Subscribe(ctx, "secret", client.SubscribeOptions{})
		if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "no access") {
			t.Errorf("Subscribe: got %v, want %v with the reason", err, client.ErrRefused)
		}
		if _, err := c.Publish(ctx, "secret", "", "", 1); !errors.Is(err, client.ErrRefused) {
			t.Errorf("Publish: got %v, want %v", err, client.ErrRefused)
		}
		if _, err := c.Presence(ctx, "secret"); !errors.Is(err, client.ErrRefused) {
			t.Errorf("Presence: got %v, want %v", err, client.ErrRefused)
		}
		if n, err := c.Publish(ctx, "open", "", "", 1); n != 1 || err != nil {
			t.Errorf("Publish to another topic: got %d, %v, want 1 subscriber", n, err)
		}
		checkEqual(t, "data of the other subscription", receive(t, open, 1), []string{"1"})
		synctest.Wait()
		checkEqual(t, "events", log.take(), []string{"connected", "refused", "disconnected", "resumed",
			"disconnected", "resumed", "disconnected", "resumed"})
	})
}

// A context ends requests that wait for an absent or silent server; the client stays usable.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, _ := srv.dial(client.Options{})
		srv.stop()
		synctest.Wait()
		cause := errors.New("test timeout")
		for name, f := range map[string]func(context.Context) error{
			"subscribe": func(ctx context.Context) error {
				_, err := c.Subscribe(ctx, "a", client.SubscribeOptions{})
				return err
			},
			"publish":  func(ctx context.Context) error { _, err := c.Publish(ctx, "a", "", "", 1); return err },
			"presence": func(ctx context.Context) error { _, err := c.Presence(ctx, "a"); return err },
		} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
			if err := f(ctx); err != cause {
				t.Errorf("%s: got %v, want %v", name, err, cause)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		srv.listen(&scriptedServer{})
		if _, err := client.Dial(ctx, client.Options{Transport: srv.mem, Addr: "topics"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial without a greeting: got %v, want %v", err, context.DeadlineExceeded)
		}
		srv.listener.Stop()
		srv.start(pubsub.Options{})
		s := subscribe(t, c, "a", client.SubscribeOptions{})
		srv.publish("a", 1)
		checkEqual(t, "data", receive(t, s, 1), []string{"1"})
	})
}

func TestFullChannels(t *testing.T) {
	for _, tt := range []struct {
		overflow protocol.Overflow
		want     []string
		dropped  uint64
	}{
		{"", []string{"1", "2"}, 3},
		{protocol.DropNewest, []string{"1", "2"}, 3},
		{protocol.DropOldest, []string{"4", "5"}, 3},
		{protocol.Block, []string{"1", "2", "3", "4", "5"}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := newTestServer(t, pubsub.Options{})
			c, log := srv.dial(client.Options{})
			s := subscribe(t, c, "a", client.SubscribeOptions{Buffer: 2, Overflow: tt.overflow})
			srv.publish("a", 1, 2, 3, 4, 5)
			synctest.Wait()
			checkEqual(t, "data", receive(t, s, len(tt.want)), tt.want)
			if n := c.Stats().Dropped; n != tt.dropped || len(log.take()) != 1+int(tt.dropped) || len(s.C()) != 0 {
				t.Errorf("overflow %q: got %d dropped and %d in the channel, want %d and 0", tt.overflow, n, len(s.C()), tt.dropped)
			}
		})
	}
}

// Close does not wait for a subscription that blocks because its channel is full.
func TestCloseWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, pubsub.Options{})
		c, _ := srv.dial(client.Options{})
		subscribe(t, c, "a", client.SubscribeOptions{Buffer: 1, Overflow: protocol.Block})
		srv.publish("a", 1, 2, 3)
		synctest.Wait()
		c.Close()
	})
}

// Text that encoding/json would replace is refused before it is sent.
func TestInvalidUTF8IsRefusedAtEntry(t *testing.T) {
	srv := newTestServer(t, pubsub.Options{})
	c, _ := srv.dial(client.Options{})
	for what, call := range map[string]func() error{
		"topic":        func() error { _, err := c.Publish(t.Context(), "a\xff", "e", "", 1); return err },
		"event":        func() error { _, err := c.Publish(t.Context(), "a", "e\xff", "", 1); return err },
		"id":           func() error { _, err := c.Publish(t.Context(), "a", "e", "\xff", 1); return err },
		"data":         func() error { _, err := c.Publish(t.Context(), "a", "e", "", json.RawMessage("\"\xff\"")); return err },
		"presence":     func() error { _, err := c.Presence(t.Context(), "\xff"); return err },
		"subscription": func() error { _, err := c.Subscribe(t.Context(), "\xff", client.SubscribeOptions{}); return err },
		"control":      func() error { _, err := c.Subscribe(t.Context(), "a\x1b", client.SubscribeOptions{}); return err },
	} {
		if err := call(); err == nil || errors.Is(err, client.ErrRefused) {
			t.Errorf("%s: got %v, want an error of the client", what, err)
		}
	}
	if n, err := c.Publish(t.Context(), "a", "é", "", "😀"); n != 0 || err != nil {
		t.Errorf("valid text: got %d, %v, want no error", n, err)
	}
}
