package bots

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readyCrew are bots that wait for a message. What they tell goes to out.
func readyCrew(t *testing.T, clients int, out io.Writer) *crew {
	t.Helper()
	c := newCrew(spec{Clients: clients, Message: newMessage(""), Repeat: 1, InFlight: clients, Timeout: time.Second, SetupTimeout: time.Second}, out)
	c.obey(order{Connect: true}, base)
	for {
		i, ok := c.next(base)
		if !ok {
			break
		}
		c.connected(i, base)
		if _, err := c.take(i, []byte(stampedHello+"ACK\x01"), base); err != nil {
			t.Fatal(err)
		}
	}
	if c.ready != clients {
		t.Fatalf("%d of %d are ready", c.ready, clients)
	}
	return c
}

// A message that comes after the timeout is no good, whether the coordinator tells of it before or after.
func TestLateMessages(t *testing.T) {
	const frame = `{"timestamp":[1700,0,5],"topic":"events","event":"test_event","message_id":"","data":"test"}` + "\x01"
	for _, toldFirst := range []bool{true, false} {
		var out bytes.Buffer
		c := readyCrew(t, 3, &out)
		told := order{Published: 1, At: ticks(base)}
		if toldFirst {
			c.obey(told, base)
		}
		for i, at := range []time.Duration{time.Second - time.Microsecond, time.Second + time.Microsecond} {
			if _, err := c.take(i, []byte(frame), base.Add(at)); err != nil {
				t.Fatal(err)
			}
		}
		if !toldFirst {
			c.obey(told, base.Add(time.Second+time.Microsecond))
		}
		c.take(2, []byte(frame), base.Add(2*time.Second)) // when it is over
		c.obey(order{End: true}, base.Add(2*time.Second))

		var res *burstResult
		var fin *final
		for d := json.NewDecoder(&out); ; {
			var n news
			if err := d.Decode(&n); err != nil {
				break
			}
			if n.Burst != nil {
				res = n.Burst
			}
			if n.Final != nil {
				fin = n.Final
			}
		}
		_, waits := samplesOf(res.Samples)
		got := []any{waits, res.Late, *fin}
		want := []any{[]int32{999_999}, 1, final{Good: 1, Reasons: map[string]int{"no message within 1s": 2}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told first %v (-want +got):\n%s", toldFirst, diff)
		}
	}
}
