package bots

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newMessage(prefix string) message {
	m := message{Topic: "events", Data: "test", Prefix: prefix}
	m.prepare()
	return m
}

func TestPublishAsTheOriginalDoes(t *testing.T) {
	m := newMessage("")
	want := "<regular-socket/>\x00PUBLISH\x00" + `{"topic":"events","event":"test_event","message_id":"","data":"test"}`
	if diff := cmp.Diff(want, string(m.publish(1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadMessage(t *testing.T) {
	const stamp = 1_700_000_000_000_005
	for _, tt := range []struct {
		name, prefix, frame string
		n                   int
		foreign, bad        bool
	}{
		{name: "one", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}`, n: 1},
		{name: "numbered", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-17","data":"test"}`, n: 17},
		{name: "other order", prefix: "a-", frame: `{"topic":"events", "timestamp":[1700, 0, 5],"message_id":"a-17","data":"test"}`, n: 17},
		{name: "of another run", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"b-17","data":"test"}`, foreign: true},
		{name: "no number", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-","data":"test"}`, foreign: true},
		{name: "number below one", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-0","data":"test"}`, foreign: true},
		{name: "other topic", frame: `{"timestamp":[1700,0,5],"topic":"x","event":"test_event","message_id":"","data":"test"}`, foreign: true},
		{name: "notice", frame: `{"dropped":3}`, foreign: true},
		{name: "error", frame: `{"error":"x"}`, bad: true},
		{name: "no JSON", frame: `{"timestamp":[1700,0`, bad: true},
		{name: "ACK", frame: `ACK`, bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMessage(tt.prefix)
			at, n, err := m.read([]byte(tt.frame))
			if errors.Is(err, errForeign) != tt.foreign || (err != nil) != (tt.foreign || tt.bad) || n != tt.n || err == nil && at != stamp {
				t.Errorf("got %d, %d, %v", at, n, err)
			}
		})
	}
}

// Frames are the same however the stream is cut.
func FuzzTake(f *testing.F) {
	for _, s := range []string{
		stampedHello + "ACK\x01" + `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}` + "\x01",
		"PING\x01" + stampedHello + "PING\x01ACK\x01{\"dropped\":1}\x01", "HTTP/1.1 400\r\n", "\x01", `{"error":"x"}` + "\x01",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		feed := func(step int) (phase phase, answers string, foreign int, failed bool) {
			c := newCrew(spec{Clients: 1, Message: newMessage(""), Repeat: 1, InFlight: 1, Timeout: time.Second}, io.Discard)
			c.obey(order{Connect: true}, base)
			i, _ := c.next(base)
			c.connected(i, base)
			for rest := b; len(rest) > 0; {
				n := min(step, len(rest))
				answer, err := c.take(i, rest[:n], base)
				if err != nil {
					return c.bots[i].phase, "", 0, true
				}
				answers += string(answer)
				rest = rest[n:]
			}
			return c.bots[i].phase, answers, c.foreign, false
		}
		p1, a1, f1, e1 := feed(len(b) + 1)
		p2, a2, f2, e2 := feed(int(step)%16 + 1)
		if p1 != p2 || a1 != a2 || f1 != f2 || e1 != e2 {
			t.Errorf("whole: %v %q %d %v; in steps: %v %q %d %v", p1, a1, f1, e1, p2, a2, f2, e2)
		}
	})
}

func TestFineBuckets(t *testing.T) {
	for _, tt := range []struct{ us, from, to int64 }{
		{0, 0, 1}, {1, 1, 2}, {2, 2, 5}, {4, 2, 5}, {5, 5, 10}, {9, 5, 10}, {10, 10, 20}, {499_999, 200_000, 500_000}, {500_000, 500_000, 1_000_000},
	} {
		if from, to := fineBucket(tt.us); from != tt.from || to != tt.to {
			t.Errorf("%d: got %d..%d, want %d..%d", tt.us, from, to, tt.from, tt.to)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var us []int32
	for i := range int32(1000) {
		us = append(us, 1000-i)
	}
	want := &quantiles{Min: 1, P50: 501, P99: 991, Max: 1000}
	if diff := cmp.Diff(want, quantilesOf(us)); diff != "" {
		t.Errorf("exact (-want +got):\n%s", diff)
	}
	var l latencies
	l.add(us)
	if got := l.quantiles(); got.Min != 1 || got.Max != 1000 || got.P50 < 499 || got.P50 > 501 || got.P99 < 989 || got.P99 > 991 {
		t.Errorf("histogram: %+v", got)
	}
}

func TestSourceAddresses(t *testing.T) {
	for i, want := range map[int][4]byte{0: {127, 0, 0, 2}, 19_999: {127, 0, 0, 2}, 20_000: {127, 0, 0, 3}, 999_999: {127, 0, 0, 51}} {
		if got := sourceAddr(i); got != want {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
	}
}
