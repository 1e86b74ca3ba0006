package bots

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newReadyWorker returns a worker whose clients wait for a message. Its reports go to out.
func newReadyWorker(t *testing.T, clients int, out io.Writer) *worker {
	t.Helper()
	w := newWorker(workerConfig{NumClients: clients, Message: newMessage(""), Repeat: 1, MaxInFlight: clients, Timeout: time.Second, SetupTimeout: time.Second}, out)
	w.handle(command{Connect: true}, base)
	for {
		i, ok := w.next(base)
		if !ok {
			break
		}
		w.connected(i, base)
		if _, err := w.received(i, []byte(tokenFrame+"ACK\x01"), base); err != nil {
			t.Fatal(err)
		}
	}
	if w.ready != clients {
		t.Fatalf("got %d ready clients, want %d", w.ready, clients)
	}
	return w
}

// Messages count once, in any order.
func TestMarkReceived(t *testing.T) {
	var c client
	for i, tt := range []struct {
		n    int
		want bool
	}{{2, true}, {1, true}, {1, false}, {2, false}, {65, true}, {3, true}, {3, false}, {200, true}, {136, false}, {137, true}, {199, true}, {200, false}} {
		if got := c.has(tt.n); got == tt.want {
			t.Errorf("step %d: has(%d): got %v, want %v", i, tt.n, got, !tt.want)
		}
		if got := c.markReceived(tt.n); got != tt.want {
			t.Errorf("step %d: markReceived(%d): got %v, want %v", i, tt.n, got, tt.want)
		}
	}
}

// A message that arrives after the timeout does not count as received, whether the worker learns
// that it was published before or after it arrives.
func TestLateMessages(t *testing.T) {
	const frame = `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}` + "\x01"
	for _, publishedFirst := range []bool{true, false} {
		var out bytes.Buffer
		w := newReadyWorker(t, 3, &out)
		published := command{Published: 1, At: ticks(base)}
		if publishedFirst {
			w.handle(published, base)
		}
		for i, at := range []time.Duration{time.Second - time.Microsecond, time.Second + time.Microsecond} {
			if _, err := w.received(i, []byte(frame), base.Add(at)); err != nil {
				t.Fatal(err)
			}
		}
		if !publishedFirst {
			w.handle(published, base.Add(time.Second+time.Microsecond))
		}
		w.received(2, []byte(frame), base.Add(2*time.Second)) // after the broadcast was reported
		w.handle(command{End: true}, base.Add(2*time.Second))

		var broadcast *broadcastReport
		var final *finalReport
		for d := json.NewDecoder(&out); ; {
			var r report
			if err := d.Decode(&r); err != nil {
				break
			}
			if r.Broadcast != nil {
				broadcast = r.Broadcast
			}
			if r.Final != nil {
				final = r.Final
			}
		}
		_, waits := samplesOf(broadcast.Samples)
		got := []any{waits, broadcast.Late, *final}
		want := []any{[]int32{999_999}, 1, finalReport{Good: 1, Reasons: map[string]int{"no message within 1s": 2}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("published first %v (-want +got):\n%s", publishedFirst, diff)
		}
	}
}
