package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"goranch/ranch"
	"goranch/transport"
)

// A listener against a model: after each of any sequence of operations, once all is
// quiet, exactly as many are served as the rules say. The cap is not exceeded by anybody
// who came after it was set, no slot stays free while somebody waits, nobody is lost.
func TestCapAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 60).Draw(rt, "ops")
		acceptors := rapid.IntRange(1, 5).Draw(rt, "acceptors")
		noDeadline := rapid.Bool().Draw(rt, "no deadline")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, acceptors, noDeadline)
			for i, o := range ops {
				if err := errors.Join(w.do(o), w.check()); err != nil {
					t.Fatalf("%d acceptors, no deadline %v, after %v: %v; %s", acceptors, noDeadline, ops[:i+1], err, pretty(w.l.Info()))
				}
			}
		})
	})
}

type op struct {
	kind string
	n    int
}

func drawOp(t *rapid.T) op {
	kind := rapid.SampledFrom([]string{"come", "come", "come", "leave", "leave", "remove", "cap", "cap", "unlimited", "suspend", "resume"}).Draw(t, "kind")
	return op{kind, rapid.IntRange(0, 6).Draw(t, "n")}
}

// world is a listener, and what the model knows of it.
type world struct {
	f         *fake
	l         *ranch.Listener
	acceptors int

	mu     sync.Mutex
	guests []*guest // being served

	limit, used, live int
	queue             int // came, and are not served yet
	admitted          uint64
	running           bool
}

// guest is a connection that stays until it is told to leave.
type guest struct {
	conn    *transport.Conn
	leave   chan struct{}
	counted bool
}

func newWorld(t *testing.T, acceptors int, noDeadline bool) *world {
	w := &world{f: &fake{noDeadline: noDeadline}, acceptors: acceptors, limit: 3, running: true}
	w.l, _ = start(t, w.f, ranch.Options{NumAcceptors: acceptors, MaxConnections: w.limit}, w)
	return w
}

func (w *world) Serve(ctx context.Context, conn *transport.Conn) error {
	g := &guest{conn, make(chan struct{}), true}
	w.mu.Lock()
	w.guests = append(w.guests, g)
	w.mu.Unlock()
	select {
	case <-g.leave:
	case <-ctx.Done():
	}
	return nil
}

// do does one operation in the world and in the model.
func (w *world) do(o op) error {
	var g *guest
	if len(w.guests) > 0 {
		g = w.guests[o.n%len(w.guests)]
	}
	switch {
	case o.kind == "come":
		if _, err := w.f.Dial(context.Background(), dialAddr(w.l)); (err == nil) != w.running {
			return fmt.Errorf("dialling: %w", err)
		} else if err == nil {
			w.queue++
		}
	case o.kind == "leave" && g != nil:
		w.guests = slices.DeleteFunc(w.guests, func(x *guest) bool { return x == g })
		close(g.leave)
		w.live--
		w.uncount(g)
	case o.kind == "remove" && g != nil:
		ranch.RemoveConnection(g.conn)
		ranch.RemoveConnection(g.conn)
		w.uncount(g)
	case o.kind == "cap":
		w.limit = o.n
		w.l.SetMaxConnections(o.n)
	case o.kind == "unlimited":
		w.limit = ranch.Unlimited
		w.l.SetMaxConnections(ranch.Unlimited)
	case o.kind == "suspend":
		if w.running { // who was not accepted yet is lost, as in a kernel
			w.queue -= w.f.last().queued()
		}
		w.running = false
		w.l.Suspend()
	case o.kind == "resume":
		w.running = true
		w.l.Resume()
	}
	if n := min(w.queue, w.limit-w.used); n > 0 {
		w.queue -= n
		w.used += n
		w.live += n
		w.admitted += uint64(n)
	}
	synctest.Wait()
	return nil
}

func (w *world) uncount(g *guest) {
	if g.counted {
		w.used--
	}
	g.counted = false
}

// check compares the two.
func (w *world) check() error {
	i := w.l.Info()
	type state struct {
		Used, Live, Served int
		Admitted           uint64
	}
	got := state{i.ActiveConnections, i.AllConnections, len(w.guests), i.Accepted}
	if want := (state{w.used, w.live, w.live, w.admitted}); got != want {
		return fmt.Errorf("it is %+v, the model is %+v", got, want)
	}
	if err := w.l.WaitForConnections(over, ranch.Equal, w.used); err != nil {
		return fmt.Errorf("waiting for what is: %w", err)
	}
	if i.AcceptErrors != 0 {
		return fmt.Errorf("accept errors")
	}
	if !w.running || w.f.noDeadline { // then some may be in hand, and not in the queue
		return balanced(i)
	}
	if n := w.f.last().queued(); n != w.queue {
		return fmt.Errorf("%d wait in the queue, in the model %d", n, w.queue)
	}
	if waiting, _ := w.f.last().inAccept(); waiting != max(0, min(w.acceptors, w.limit-w.used)) || waiting+i.WaitingAcceptors != w.acceptors {
		return fmt.Errorf("%d acceptors in accept", waiting)
	}
	return balanced(i)
}
