package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
)

// All nodes receive the messages of an ordered topic in the same order, also their own; messages of
// other topics reach the other nodes.
func TestOrder(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	a.subscribe("o.x", "u.x", "o.*", "*.x")
	b.subscribe("o.x", "u.x")
	const each = 20
	done := make(chan error)
	for _, n := range []*node{a, b} {
		go func() {
			for range each {
				if _, err := n.Publish(context.Background(), "o.x", "", []byte("m")); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatalf("Publish: got %v, want no error", err)
		}
	}
	var want []string
	for i := range 2 * each {
		want = append(want, fmt.Sprint("o.x m ", i+1))
	}
	a.expect(want...)
	b.expect(want...)
	a.reset()
	b.reset()
	a.publish("u.x", "1")
	a.publish("u.x", "2")
	b.publish("u.x", "3")
	a.expect("u.x 3 0")
	b.expect("u.x 1 0", "u.x 2 0")
	if got := a.Stats(); got.Gaps+got.Missed != 0 || got.Topics != 4 || got.Epoch != b.Stats().Epoch {
		t.Errorf("Stats: got %+v, want no gaps, 4 topics and the epoch of the other node", got)
	}
	a.Unsubscribe("o.x", "u.x", "o.*", "*.x")
	a.subscribe("o.y") // takes effect after the end of the others
	a.reset()
	b.publish("o.x", "late")
	b.publish("u.x", "late")
	p := b.publish("o.y", "1")
	a.expect(fmt.Sprint("o.y 1 ", p.Offset))
}

func TestHistory(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	b.subscribe("o", "o2")
	start, _, _ := b.history("o", pubsub.Position{}, false, 8)
	a.publish("o.quiet", "q1")
	quiet := a.publish("o2", "-")
	a.publish("o.quiet", "q2")
	var at []pubsub.Position
	for i := range 10 {
		a.publish("o2", "-")
		at = append(at, a.publish("o", fmt.Sprint(i)))
	}
	epoch := at[0].Epoch
	for _, tt := range []struct {
		name      string
		since     pubsub.Position
		last      bool
		limit     int
		from      uint64
		recovered bool
		frames    string
	}{
		{"current", pubsub.Position{}, false, 8, at[9].Offset, true, ""},
		{"nothing missed", at[9], false, 8, at[9].Offset, true, ""},
		{"some", at[6], false, 8, at[6].Offset, true, "789"},
		{"all that is kept", at[2], false, 8, at[2].Offset, true, "3456789"},
		{"after a message of another topic", pubsub.Position{Epoch: epoch, Offset: at[5].Offset - 1}, false, 8, at[5].Offset - 1, true, "56789"},
		{"more than the limit", at[2], false, 3, at[6].Offset, false, "789"},
		{"more than is kept", at[0], false, 8, at[2].Offset - 1, false, "23456789"},
		{"before the first", pubsub.Position{Epoch: epoch, Offset: start}, false, 8, at[2].Offset - 1, false, "23456789"},
		{"later than the last", pubsub.Position{Epoch: epoch, Offset: at[9].Offset + 1}, false, 8, at[2].Offset - 1, false, "23456789"},
		{"another epoch", pubsub.Position{Epoch: "other", Offset: at[9].Offset}, false, 8, at[2].Offset - 1, false, "23456789"},
		{"the last two", pubsub.Position{}, true, 2, at[7].Offset, true, "89"},
	} {
		from, recovered, frames := b.history("o", tt.since, tt.last, tt.limit)
		if from != tt.from || recovered != tt.recovered || frames != tt.frames {
			t.Errorf("%s: got from %d, recovered %t, %q, want %d, %t, %q", tt.name, from, recovered, frames, tt.from, tt.recovered, tt.frames)
		}
	}
	if from, recovered, frames := b.history("o.quiet", quiet, false, 8); !recovered || frames != "q2" || from != quiet.Offset {
		t.Errorf("a message at the position of another topic: got from %d, recovered %t, %q, want %d, true, q2", from, recovered, frames, quiet.Offset)
	}
	if from, recovered, frames := b.history("o.none", pubsub.Position{Epoch: epoch, Offset: 4}, false, 8); !recovered || frames != "" || from != 4 {
		t.Errorf("a topic without messages: got from %d, recovered %t, %q, want 4, true and none", from, recovered, frames)
	}
}

// Messages that the network drops are delivered in their order: before the next message, or when
// the topic is checked.
func TestGapIsFilled(t *testing.T) {
	var drop atomic.Bool
	var dropped atomic.Int32
	dropForTest = func(*nats.Msg) bool {
		if !drop.Load() {
			return false
		}
		dropped.Add(1)
		return true
	}
	check := newCheck
	newCheck = time.Hour // no check but the one of the test
	t.Cleanup(func() { dropForTest, newCheck = nil, check })
	e := newEngine(t)
	b := e.node("b")
	b.subscribe("o")
	b.publish("o", "1")
	b.expect("o 1 1")
	drop.Store(true)
	b.publish("o", "2")
	b.publish("o", "3")
	waitFor(t, "dropped messages", func() bool { return dropped.Load() == 2 })
	drop.Store(false)
	b.publish("o", "4")
	b.expect("o 1 1", "o 2 2", "o 3 3", "o 4 4")
	drop.Store(true)
	b.publish("o", "5")
	waitFor(t, "a dropped message", func() bool { return dropped.Load() == 3 })
	b.checkSoon()
	b.expect("o 1 1", "o 2 2", "o 3 3", "o 4 4", "o 5 5")
	for range 3 { // one of them is in the channel: the check of the topic has ended
		b.wake <- struct{}{}
	}
	for range 9 { // more than are kept
		b.publish("o", "-")
	}
	waitFor(t, "dropped messages", func() bool { return dropped.Load() == 12 })
	drop.Store(false)
	b.reset()
	b.publish("o", "15")
	b.expect("gap o 7", "o - 8", "o - 9", "o - 10", "o - 11", "o - 12", "o - 13", "o - 14", "o 15 15")
	if got := b.Stats(); got.Gaps == 0 || got.Filled == 0 {
		t.Errorf("Stats: got %+v, want gaps and messages with which they were filled", got)
	}
}

// A key is known on all nodes.
func TestKeysAcrossNodes(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	b.subscribe("o")
	var got []pubsub.Position
	for _, p := range []struct {
		n          *node
		topic, key string
	}{{a, "o", "k"}, {b, "o", "k"}, {a, "o2", "k"}, {b, "o", "other key, with spaces\n"}} {
		at, err := p.n.Publish(ctx(t), p.topic, p.key, []byte("m"))
		if err != nil {
			t.Fatalf("Publish: got %v, want no error", err)
		}
		got = append(got, at)
	}
	if got[0] != got[1] || got[2] == got[0] || got[3] == got[0] {
		t.Errorf("got positions %v, want the first two equal, and others", got)
	}
	b.expect("o m 1", "o m 3")
}

// While the engine is away, messages of ordered topics are refused; afterwards nothing is missing.
func TestEngineRestart(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	b.subscribe("o")
	first := a.publish("o", "1")
	b.expect("o 1 1")
	e.stop()
	waitFor(t, "degraded state", func() bool { return a.Degraded() != nil && b.Degraded() != nil })
	for _, topic := range []string{"o", "u"} {
		if _, err := a.Publish(ctx(t), topic, "", []byte("no")); !errors.Is(err, pubsub.ErrUnavailable) {
			t.Errorf("Publish to %s while the engine is away: got %v, want ErrUnavailable", topic, err)
		}
	}
	if _, err := b.History(ctx(t), "o", first, false, 8); !errors.Is(err, pubsub.ErrUnavailable) {
		t.Errorf("History while the engine is away: got %v, want ErrUnavailable", err)
	}
	e.start()
	a.ready()
	a.publish("o", "2")
	b.ready()
	a.publish("o", "3")
	b.expect("o 1 1", "o 2 2", "o 3 3")
	if from, recovered, frames := b.history("o", first, false, 8); from != 1 || !recovered || frames != "23" {
		t.Errorf("History: got from %d, recovered %t, %q, want 1, true, 23", from, recovered, frames)
	}
	if got := b.Stats().Reconnects; got != 1 {
		t.Errorf("got %d reconnects, want 1", got)
	}
}

// A stream that is deleted is created again, with another epoch, and positions in the old one are
// not those of the new one.
func TestStreamDeleted(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	b.subscribe("o")
	a.publish("o", "1")
	old := a.publish("o", "2")
	b.expect("o 1 1", "o 2 2")
	if err := a.js.DeleteStream(ctx(t), a.streamName()); err != nil {
		t.Fatalf("DeleteStream: got %v, want no error", err)
	}
	waitFor(t, "new stream", func() bool {
		st := a.Stats().Epoch
		return st != old.Epoch && st == b.Stats().Epoch && a.Degraded() == nil && b.Degraded() == nil
	})
	a.publish("o", "3")
	b.expect("o 1 1", "o 2 2", "gap o 0", "o 3 1")
	if _, recovered, frames := b.history("o", old, false, 8); recovered || frames != "3" {
		t.Errorf("History: got recovered %t, %q, want false, 3", recovered, frames)
	}
}

// A gap in a stream that was created again is found, although the one before had more messages.
func TestGapAfterStreamDeleted(t *testing.T) {
	drop := atomic.Bool{}
	dropForTest = func(m *nats.Msg) bool { return drop.Load() && string(m.Data) == "dropped" }
	e := newEngine(t)
	t.Cleanup(func() { dropForTest = nil })
	a, b := e.node("a"), e.node("b")
	b.subscribe("o")
	for i := range 5 {
		a.publish("o", fmt.Sprint(i))
	}
	old := a.publish("o", "5")
	b.expect("o 0 1", "o 1 2", "o 2 3", "o 3 4", "o 4 5", "o 5 6")
	b.settled.upTo.Store(old.Offset) // as after a while
	b.received.reset()
	if err := a.js.DeleteStream(ctx(t), a.streamName()); err != nil {
		t.Fatalf("DeleteStream: got %v, want no error", err)
	}
	waitFor(t, "check of the new stream", func() bool {
		st := a.Stats().Epoch
		return st != old.Epoch && st == b.Stats().Epoch && a.Degraded() == nil && b.Degraded() == nil && b.settled.upTo.Load() == 0
	})
	drop.Store(true)
	a.publish("o", "dropped")
	a.publish("o", "6")
	b.expect("gap o 0", "o dropped 1", "o 6 2")
}

// A server that cannot read messages, such as while it stops, does not say that there are none.
func TestUnreadableMessages(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	answer := ""
	if _, err := b.nc.Subscribe("$JS.API.DIRECT.GET.x", func(m *nats.Msg) {
		m.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {answer}}})
	}); err != nil {
		t.Fatalf("Subscribe: got %v, want no error", err)
	}
	for _, tt := range []struct {
		request getRequest
		answer  string
		fails   bool
	}{
		{getRequest{MultiLast: []string{"s"}}, "No Results", false},
		{getRequest{MultiLast: []string{"s"}}, "Message Not Found", true},
		{getRequest{Seq: 1, NextFor: "s"}, "Message Not Found", false},
	} {
		answer = tt.answer
		if err := b.nc.FlushTimeout(20 * time.Second); err != nil {
			t.Fatalf("Flush: got %v, want no error", err)
		}
		_, _, err := a.get(ctx(t), &stream{name: "x"}, tt.request, nil)
		if (err != nil) != tt.fails {
			t.Errorf("%+v, answer %s: got error %v, want one: %t", tt.request, tt.answer, err, tt.fails)
		}
	}
}

// A copy of the stream that lags behind and has no message of a topic yet does not hide a gap,
// however often the topic was checked meanwhile.
func TestCopyWithoutMessages(t *testing.T) {
	e := newEngine(t)
	a := e.node("a")
	a.subscribe("o")
	start, _, _ := a.history("o", pubsub.Position{}, false, 8) // its position is known now
	a.settled.add(start + 3)
	a.settled.add(start + 3)
	sh := a.shard("o")
	if err := sh.check(ctx(t), "o", a.stream.Load(), checked{first: 1, settled: a.settled.upTo.Load()}); err != nil {
		t.Fatalf("check: got %v, want no error", err)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o := sh.orders["o"]; !o.known || o.last != start {
		t.Errorf("position: got %+v, want the known one %d", o, start)
	}
}

// The number of subscribers is that of all other nodes that are alive.
func TestPresence(t *testing.T) {
	e := newEngine(t)
	a, b, c := e.node("a"), e.node("b"), e.node("c")
	waitFor(t, "nodes", func() bool { return a.Stats().Nodes == 2 && b.Stats().Nodes == 2 && c.Stats().Nodes == 2 })
	if n, err := a.Presence(ctx(t), "four"); n != 8 || err != nil {
		t.Errorf("Presence: got %d, %v, want 8", n, err)
	}
	b.Close()
	waitFor(t, "the end of a node", func() bool { return a.Stats().Nodes == 1 })
	if n, err := a.Presence(ctx(t), "fives"); n != 5 || err != nil {
		t.Errorf("Presence without a node: got %d, %v, want 5", n, err)
	}
}

// Of two answers from the stream, one of which lags behind, what follows the shorter one is
// delivered.
func TestAnswersOfDifferentLength(t *testing.T) {
	for _, order := range [][]uint64{{3, 1}, {1, 3}} {
		n := newEngine(t).node("a")
		for _, frame := range []string{"1", "2", "3"} {
			n.publish("o", frame)
		}
		n.subscribe("o")
		for _, last := range order {
			n.shard("o").setKnown("o", n.stream.Load(), pubsub.Recovery{From: pubsub.Position{Epoch: n.Stats().Epoch, Offset: last}})
		}
		n.publish("o", "4")
		n.expect("o 2 2", "o 3 3", "o 4 4")
	}
}
