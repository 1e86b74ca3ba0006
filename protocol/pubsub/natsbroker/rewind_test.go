package natsbroker

import (
	"os"
	"testing"
	"time"
)

// A stream that was restored from a backup uses offsets again. Subscribers hear of a gap and
// receive its messages, although they have received messages with the same offsets before.
func TestStreamIsRewound(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	b.subscribe("o", "o2")
	a.publish("o", "1")
	a.publish("o2", "2")
	waitFor(t, "messages", func() bool { return len(b.received.all()) == 2 })
	stop := func() {
		t.Helper()
		e.stop()
		waitFor(t, "end of the connections", func() bool { return !a.nc.IsConnected() && !b.nc.IsConnected() })
	}
	stop()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(e.dir)); err != nil {
		t.Fatalf("backup: got %v, want no error", err)
	}
	restart := func() {
		t.Helper()
		e.start()
		waitFor(t, "connections", func() bool { return a.Degraded() == nil && b.Degraded() == nil })
	}
	restart()
	for _, frame := range []string{"3", "4", "5"} {
		a.publish("o", frame)
	}
	a.publish("o2", "6")
	waitFor(t, "messages", func() bool { return len(b.received.all()) == 6 })
	b.received.reset()
	stop()
	e.dir = backup
	restart()
	if p := a.publish("o", "7"); p.Offset != 3 {
		t.Fatalf("offset after the restore: got %d, want 3", p.Offset)
	}
	b.expect("gap o 1", "o 7 3")
	a.publish("o", "8")
	a.publish("o2", "9")
	waitFor(t, "messages", func() bool { return len(b.received.all()) == 5 })
	if got := b.Stats().Lost; got != 2 {
		t.Errorf("Lost: got %d, want 2, one of each topic", got)
	}
}

// A node that does not know yet that the stream was deleted and created again neither publishes to
// the new one with a position of the old one, nor reads its messages as those of the old one.
func TestOutdatedStream(t *testing.T) {
	e := newEngine(t)
	a, b := e.node("a"), e.node("b")
	a.publish("o", "1")
	old := a.stream.Load()
	if err := a.js.DeleteStream(ctx(t), a.streamName()); err != nil {
		t.Fatalf("DeleteStream: got %v, want no error", err)
	}
	waitFor(t, "new stream", func() bool {
		return a.Stats().Epoch != old.epoch && b.Stats().Epoch == a.Stats().Epoch && b.Degraded() == nil
	})
	b.publish("o", "2")
	b.publish("o", "3")
	if r, err := a.fetch(ctx(t), old, "o", 1, 8); err == nil {
		t.Errorf("fetch from the stream that was deleted: got %+v, want an error", r)
	}
	a.stream.Store(old) // the monitor finds the new one again
	if p, err := a.Publish(ctx(t), "o", "", []byte("4")); err == nil && p.Epoch == old.epoch {
		t.Errorf("Publish to the stream that was deleted: got %v, want an error or the new epoch", p)
	}
}

// A message that a fill has delivered, and that was stored before, is no sign of a rewound stream.
func TestIsLater(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 120, time.UTC)
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{at.Add(time.Nanosecond).Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), true},
		{at.Add(-15).Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), false}, // other digits
		{at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), false},
		{"", at.Format(time.RFC3339Nano), false},
		{at.Format(time.RFC3339Nano), "", false},
	} {
		if got := isLater(tt.a, tt.b); got != tt.want {
			t.Errorf("isLater(%s, %s): got %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

// all returns the events that are not about the state of the broker.
func (r *received) all() (events []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e[0] == 'o' || e[0] == 'g' {
			events = append(events, e)
		}
	}
	return events
}
