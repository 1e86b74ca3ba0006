package natsbroker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// A former stream is not used again at once, but if it is the only one for a while.
func TestFormerStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f formerStreams
		expect := func(epoch string, want error) {
			t.Helper()
			if got := f.check(epoch); got != want {
				t.Errorf("epoch %s: got %v, want %v", epoch, got, want)
			}
		}
		f.replace("a", "b")
		expect("c", nil)
		expect("a", errFormer)
		time.Sleep(formerDelay - 1)
		expect("a", errFormer)
		f.current()
		time.Sleep(time.Second)
		expect("a", errFormer)
		time.Sleep(formerDelay)
		expect("a", nil)
		f.replace("b", "a")
		expect("a", nil)
		expect("b", errFormer)
		for i := range 2 * maxFormer {
			f.replace(fmt.Sprint(i), "x")
		}
		expect("b", nil)
		if got := len(f.epochs); got != maxFormer {
			t.Errorf("former streams: got %d, want %d", got, maxFormer)
		}
	})
}

// While a server that does not know of the current stream answers, the broker keeps that and is
// degraded.
func TestFormerStreamIsFoundAgain(t *testing.T) {
	e := newEngine(t)
	n := e.node("a")
	n.subscribe("o")
	n.publish("o", "1")
	n.expect("o 1 1")
	current := n.stream.Load()
	n.cancel() // ends the monitor
	n.done.Wait()
	n.stream.Store(&stream{name: current.name, token: "next", epoch: "next"})
	n.former.replace(current.epoch, "next")
	if err := n.findStream(ctx(t)); err != errFormer {
		t.Errorf("findStream: got %v, want %v", err, errFormer)
	}
	if got := n.Stats().Epoch; got != "next" {
		t.Errorf("epoch: got %s, want next", got)
	}
	n.former.epochs = nil
	if err := n.findStream(ctx(t)); err != nil {
		t.Errorf("findStream of another stream: got %v, want no error", err)
	}
	n.expect("o 1 1", "gap o 0")
}

// Messages of a new stream may arrive while the broker changes to it. Each is delivered once, after
// the announcement.
func TestMessagesDuringChangeOfStream(t *testing.T) {
	n := newEngine(t).node("a")
	n.subscribe("o")
	for _, frame := range []string{"1", "2"} {
		n.publish("o", frame)
	}
	n.expect("o 1 1", "o 2 2")
	n.cancel() // ends the monitor and the shards
	n.done.Wait()
	before := n.stream.Load()
	next := &stream{name: before.name, token: "next", epoch: "next", keep: before.keep}
	arrive := func(offset, frame string) {
		m := nats.NewMsg(n.subject(ordered, next.token, "o"))
		m.Header.Set("Nats-Sequence", offset)
		m.Header.Set("Nats-Last-Sequence", "0")
		if offset != "1" {
			m.Header.Set("Nats-Last-Sequence", "1")
		}
		m.Header.Set(storedHeader, time.Now().UTC().Format(time.RFC3339Nano))
		m.Data = []byte(frame)
		n.shard("o").handle(m)
	}
	n.stream.Store(next)
	arrive("1", "3")
	n.changeStream(before, next)
	arrive("2", "4")
	n.expect("o 1 1", "o 2 2", "gap o 0", "o 3 1", "o 4 2")
}
