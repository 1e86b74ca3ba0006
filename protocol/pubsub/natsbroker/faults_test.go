package natsbroker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol"
	"goranch/protocol/pubsub"
)

// A broker without an engine, with the wrong password, or with a stream that is not suitable, says
// so and goes on trying.
func TestDegraded(t *testing.T) {
	e := newEngineFor(t, "ranch")
	b := e.broker("b", nats.UserInfo("ranch", "wrong"), nats.InProcessServer(nil))
	waitFor(t, "reason", func() bool {
		err := b.Degraded()
		return err != nil && strings.Contains(err.Error(), "Authorization")
	})
	if _, err := b.Publish(ctx(t), "o", "", []byte("m")); !errors.Is(err, pubsub.ErrUnavailable) {
		t.Errorf("Publish with a wrong password: got %v, want ErrUnavailable", err)
	}

	away := newEngine(t)
	away.stop()
	b = away.broker("b")
	b.Subscribe("o")
	r := &received{t: t}
	stop, err := b.Receive(r)
	if err != nil {
		t.Fatalf("Receive: got %v, want no error", err)
	}
	t.Cleanup(stop)
	if _, err := b.Receive(r); err == nil {
		t.Error("second Receive: got no error, want one")
	}
	away.start()
	waitFor(t, "stream", func() bool { return b.Degraded() == nil })
	n := &node{b, r}
	n.publish("o", "1")
	n.expect("o 1 1")

	other := newEngine(t)
	js, err := jetstream.New(other.broker("a").nc)
	if err != nil {
		t.Fatalf("jetstream.New: got %v, want no error", err)
	}
	waitFor(t, "unsuitable stream", func() bool {
		_, err := js.UpdateStream(ctx(t), jetstream.StreamConfig{Name: "ranch_topics", Subjects: []string{"ranch.t.>"}, Duplicates: keyWindow})
		return err == nil
	})
	b = other.broker("b")
	waitFor(t, "reason", func() bool {
		err := b.Degraded()
		return err != nil && strings.Contains(err.Error(), "exists without direct gets")
	})
}

// Messages that NATS can never accept are bad input.
func TestNeverAccepted(t *testing.T) {
	n := newEngine(t).node("a")
	for topic, frame := range map[string][]byte{"o": make([]byte, 2<<20), "o" + strings.Repeat(" ", 1<<20): nil, "u" + strings.Repeat(" ", 1<<20): nil} {
		if _, err := n.Publish(ctx(t), topic, "", frame); !errors.Is(err, protocol.ErrBadInput) {
			t.Errorf("%.20q with %d bytes: got %v, want ErrBadInput", topic, len(frame), err)
		}
	}
	if _, err := n.History(ctx(t), "o"+strings.Repeat(" ", 1<<20), pubsub.Position{}, false, 1); !errors.Is(err, protocol.ErrBadInput) {
		t.Errorf("History: got %v, want ErrBadInput", err)
	}
}

// A node that delivers too slowly loses no message of an ordered topic, and counts those of others.
func TestSlowConsumer(t *testing.T) {
	blocked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	dropForTest = func(*nats.Msg) bool {
		once.Do(func() { close(blocked); <-release })
		return false
	}
	e := newEngine(t)
	t.Cleanup(func() { dropForTest = nil })
	e.keep = 2 * maxQueue
	a, b := e.node("a"), e.node("b")
	ordered, other := "o", "u"
	for i := 0; b.shard(other) != b.shard(ordered); i++ {
		other = fmt.Sprint("u", i)
	}
	b.subscribe(ordered, other)
	a.publish(ordered, "m")
	<-blocked
	a.publish(other, "before")
	var want []string
	for i := range maxQueue + 5 {
		if i > 0 {
			a.publish(ordered, "m")
		}
		want = append(want, fmt.Sprint(ordered, " m ", i+1))
	}
	a.publish(other, "lost")
	a.publish(other, "lost too")
	for _, n := range []*node{a, b} { // all of it has arrived afterwards
		if err := n.nc.FlushTimeout(20 * time.Second); err != nil {
			t.Fatalf("Flush: got %v, want no error", err)
		}
	}
	close(release)
	waitFor(t, "all messages", func() bool {
		a.publish(other, "after") // may be dropped, too
		if queued := len(b.shard(ordered).msgs); queued == 0 && len(want) == maxQueue+5 {
			a.publish(ordered, "m") // a gap is before it
			want = append(want, fmt.Sprint(ordered, " m ", len(want)+1))
		}
		b.received.mu.Lock()
		defer b.received.mu.Unlock()
		return slices.Contains(b.events, other+" after 0") && slices.Contains(b.events, want[len(want)-1])
	})
	var got []string
	b.received.mu.Lock()
	for _, event := range b.events {
		if strings.HasPrefix(event, ordered+" ") {
			got = append(got, event)
		}
	}
	b.received.mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := b.Stats(); got.Filled == 0 || got.Lost > 0 || got.Missed < 2 || got.Slow == 0 {
		t.Errorf("Stats: got %+v, want filled messages, none lost, and at least two missed", got)
	}
}

func TestInvalidOptions(t *testing.T) {
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{Prefix: "a.b"}, "Prefix"},
		{Options{Node: "a b"}, "Node"},
		{Options{Node: strings.Repeat("a", 65)}, "Node"},
		{Options{Replicas: 6}, "Replicas"},
		{Options{Keep: -1}, "Keep"},
		{Options{MaxBytes: -1}, "MaxBytes"},
		{Options{MaxAge: time.Second}, "MaxAge"},
	} {
		if b, err := New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error", tt.want, b, err)
		}
	}
}
