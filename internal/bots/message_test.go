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

// The request equals that of the original bots byte for byte.
func TestPublishRequest(t *testing.T) {
	m := newMessage("")
	want := "<regular-socket/>\x00PUBLISH\x00" + `{"topic":"events","event":"test_event","message_id":"","data":"test"}`
	if diff := cmp.Diff(want, string(m.publishRequest(1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseMessage(t *testing.T) {
	const stamp = 1_700_000_000_000_005
	for _, tt := range []struct {
		name, prefix, frame string
		n                   int
		foreign, bad        bool
	}{
		{name: "single message", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}`, n: 1},
		{name: "numbered", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-17","data":"test"}`, n: 17},
		{name: "other field order", prefix: "a-", frame: `{"topic":"events", "timestamp":[1700, 0, 5],"message_id":"a-17","data":"test"}`, n: 17},
		{name: "message of another run", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"b-17","data":"test"}`, foreign: true},
		{name: "no number", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-","data":"test"}`, foreign: true},
		{name: "number below one", prefix: "a-", frame: `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"a-0","data":"test"}`, foreign: true},
		{name: "other topic", frame: `{"timestamp":[1700,0,5],"topic":"x","event":"test_event","message_id":"","data":"test"}`, foreign: true},
		{name: "notice", frame: `{"dropped":3}`, foreign: true},
		{name: "error", frame: `{"error":"x"}`, bad: true},
		{name: "invalid JSON", frame: `{"timestamp":[1700,0`, bad: true},
		{name: "ACK", frame: `ACK`, bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMessage(tt.prefix)
			at, n, err := m.parse([]byte(tt.frame))
			if errors.Is(err, errForeign) != tt.foreign || (err != nil) != (tt.foreign || tt.bad) || n != tt.n || err == nil && at != stamp {
				t.Errorf("got timestamp %d, number %d, error %v; want %d, %d, foreign %v, invalid %v", at, n, err, stamp, tt.n, tt.foreign, tt.bad)
			}
		})
	}
}

// The result does not depend on how the stream is divided into reads.
func FuzzReceived(f *testing.F) {
	for _, s := range []string{
		tokenFrame + "ACK\x01" + `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}` + "\x01",
		"PING\x01" + tokenFrame + "PING\x01ACK\x01{\"dropped\":1}\x01", "HTTP/1.1 400\r\n", "\x01", `{"error":"x"}` + "\x01",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		feed := func(step int) (phase phase, answers string, foreign int, failed bool) {
			w := newWorker(workerConfig{NumClients: 1, Message: newMessage(""), Repeat: 1, MaxInFlight: 1, Timeout: time.Second}, io.Discard)
			w.handle(command{Connect: true}, base)
			i, _ := w.next(base)
			w.connected(i, base)
			for rest := b; len(rest) > 0; {
				n := min(step, len(rest))
				answer, err := w.received(i, rest[:n], base)
				if err != nil {
					return w.clients[i].phase, "", 0, true
				}
				answers += string(answer)
				rest = rest[n:]
			}
			return w.clients[i].phase, answers, w.foreign, false
		}
		p1, a1, f1, e1 := feed(len(b) + 1)
		p2, a2, f2, e2 := feed(int(step)%16 + 1)
		if p1 != p2 || a1 != a2 || f1 != f2 || e1 != e2 {
			t.Errorf("in steps: got phase %v, answers %q, foreign %d, failed %v; want %v, %q, %d, %v", p2, a2, f2, e2, p1, a1, f1, e1)
		}
	})
}
