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
		ops := rapid.SliceOfN(rapid.Custom(drawModelOp), 1, 60).Draw(rt, "ops")
		acceptors := rapid.IntRange(1, 5).Draw(rt, "acceptors")
		noDeadline := rapid.Bool().Draw(rt, "no deadline")
		synctest.Test(t, func(t *testing.T) {
			w := newCapModel(t, acceptors, noDeadline)
			for i, o := range ops {
				if err := errors.Join(w.do(o), w.check()); err != nil {
					t.Fatalf("%d acceptors, no deadline %v, after %v: %v; %s", acceptors, noDeadline, ops[:i+1], err, pretty(w.l.Info()))
				}
			}
		})
	})
}

type modelOp struct {
	kind string
	n    int
}

func drawModelOp(t *rapid.T) modelOp {
	kind := rapid.SampledFrom([]string{"come", "come", "come", "leave", "leave", "remove", "cap", "cap", "unlimited", "suspend", "resume"}).Draw(t, "kind")
	return modelOp{kind, rapid.IntRange(0, 6).Draw(t, "n")}
}

// world is a listener, and what the model knows of it.
type capModel struct {
	f         *fakeTransport
	l         *ranch.Listener
	acceptors int

	mu   sync.Mutex
	live []*modelConn // being served

	limit, wantUsed, wantLive int
	wantQueue                 int // came, and are not served yet
	wantAdmitted              uint64
	running                   bool
}

// guest is a connection that stays until it is told to leave.
type modelConn struct {
	conn    *transport.Conn
	end     chan struct{}
	counted bool
}

func newCapModel(t *testing.T, acceptors int, noDeadline bool) *capModel {
	w := &capModel{f: &fakeTransport{noDeadline: noDeadline}, acceptors: acceptors, limit: 3, running: true}
	w.l, _ = startListener(t, w.f, ranch.Options{NumAcceptors: acceptors, MaxConnections: w.limit}, w)
	return w
}

func (w *capModel) Serve(ctx context.Context, conn *transport.Conn) error {
	g := &modelConn{conn, make(chan struct{}), true}
	w.mu.Lock()
	w.live = append(w.live, g)
	w.mu.Unlock()
	select {
	case <-g.end:
	case <-ctx.Done():
	}
	return nil
}

// do does one operation in the world and in the model.
func (w *capModel) do(o modelOp) error {
	var g *modelConn
	if len(w.live) > 0 {
		g = w.live[o.n%len(w.live)]
	}
	switch {
	case o.kind == "come":
		if _, err := w.f.Dial(context.Background(), dialAddr(w.l)); (err == nil) != w.running {
			return fmt.Errorf("dialling: %w", err)
		} else if err == nil {
			w.wantQueue++
		}
	case o.kind == "leave" && g != nil:
		w.live = slices.DeleteFunc(w.live, func(x *modelConn) bool { return x == g })
		close(g.end)
		w.wantLive--
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
			w.wantQueue -= w.f.lastListener().queued()
		}
		w.running = false
		w.l.Suspend()
	case o.kind == "resume":
		w.running = true
		w.l.Resume()
	}
	if n := min(w.wantQueue, w.limit-w.wantUsed); n > 0 {
		w.wantQueue -= n
		w.wantUsed += n
		w.wantLive += n
		w.wantAdmitted += uint64(n)
	}
	synctest.Wait()
	return nil
}

func (w *capModel) uncount(g *modelConn) {
	if g.counted {
		w.wantUsed--
	}
	g.counted = false
}

// check compares the two.
func (w *capModel) check() error {
	i := w.l.Info()
	type state struct {
		Used, Live, Served int
		Admitted           uint64
	}
	got := state{i.ActiveConnections, i.AllConnections, len(w.live), i.Accepted}
	if want := (state{w.wantUsed, w.wantLive, w.wantLive, w.wantAdmitted}); got != want {
		return fmt.Errorf("it is %+v, the model is %+v", got, want)
	}
	if err := w.l.WaitForConnections(cancelledContext, ranch.Equal, w.wantUsed); err != nil {
		return fmt.Errorf("waiting for what is: %w", err)
	}
	if i.AcceptErrors != 0 {
		return fmt.Errorf("accept errors")
	}
	if !w.running || w.f.noDeadline { // then some may be in hand, and not in the queue
		return checkCounters(i)
	}
	if n := w.f.lastListener().queued(); n != w.wantQueue {
		return fmt.Errorf("%d wait in the queue, in the model %d", n, w.wantQueue)
	}
	if waiting, _ := w.f.lastListener().inAccept(); waiting != max(0, min(w.acceptors, w.limit-w.wantUsed)) || waiting+i.WaitingAcceptors != w.acceptors {
		return fmt.Errorf("%d acceptors in accept", waiting)
	}
	return checkCounters(i)
}
