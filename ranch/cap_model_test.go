package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"goranch/ranch"
	"goranch/transport"
)

// After each of any sequence of operations, a listener has as many connections as the model says:
// the cap holds, no slot stays free while a client waits, and no client is lost.
func TestCapAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(drawModelOp), 1, 60).Draw(rt, "ops")
		acceptors := rapid.IntRange(1, 5).Draw(rt, "acceptors")
		noDeadline := rapid.Bool().Draw(rt, "no deadline")
		synctest.Test(t, func(t *testing.T) {
			m := newCapModel(t, acceptors, noDeadline)
			for i, o := range ops {
				if err := errors.Join(m.do(o), m.check()); err != nil {
					t.Fatalf("%d acceptors, no deadline %v, after %v: %v; %s", acceptors, noDeadline, ops[:i+1], err, pretty(m.l.Info()))
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
	kind := rapid.SampledFrom([]string{
		"connect", "connect", "connect", "end", "end", "remove", "cap", "cap", "unlimited", "suspend", "resume",
		"wait", "wait for an hour", "refuse", // RefuseAfter
	}).Draw(t, "kind")
	return modelOp{kind, rapid.IntRange(0, 6).Draw(t, "n")}
}

// capModel is a listener and the state that it should have.
type capModel struct {
	f          *fakeTransport
	l          *ranch.Listener
	acceptors  int
	noDeadline bool

	mu   sync.Mutex
	live []*modelConn // connections being served

	running, refuse bool
	waits           bool // RefuseAfter has always been 0
	limit           int
	wantUsed        int
	wantLive        int
	wantQueue       int // clients that have connected and are not served yet
	wantAdmitted    uint64
	wantRefused     uint64
}

// modelConn is a connection that lives until end is closed.
type modelConn struct {
	conn    *transport.Conn
	end     chan struct{}
	counted bool
}

func newCapModel(t *testing.T, acceptors int, noDeadline bool) *capModel {
	m := &capModel{
		f: &fakeTransport{noDeadline: noDeadline}, acceptors: acceptors, noDeadline: noDeadline,
		limit: 3, running: true, waits: true,
	}
	m.l, _ = startListener(t, m.f, ranch.Options{NumAcceptors: acceptors, MaxConnections: m.limit}, m)
	return m
}

func (m *capModel) Serve(ctx context.Context, conn *transport.Conn) error {
	c := &modelConn{conn, make(chan struct{}), true}
	m.mu.Lock()
	m.live = append(m.live, c)
	m.mu.Unlock()
	select {
	case <-c.end:
	case <-ctx.Done():
	}
	return nil
}

// do performs one operation on the listener and on the model.
func (m *capModel) do(o modelOp) error {
	if len(m.live) > 0 {
		m.doConn(o, m.live[o.n%len(m.live)])
	}
	switch o.kind {
	case "connect":
		if _, err := m.f.Dial(context.Background(), dialAddr(m.l)); (err == nil) != m.running {
			return fmt.Errorf("dial: got %w, want success %v", err, m.running)
		} else if err == nil {
			m.wantQueue++
		}
	case "cap":
		m.limit = o.n
		m.l.SetMaxConnections(o.n)
	case "unlimited":
		m.limit = ranch.Unlimited
		m.l.SetMaxConnections(ranch.Unlimited)
	case "suspend":
		if m.running { // connections that were not accepted yet are lost, as in a kernel
			m.wantQueue -= m.f.lastListener().queued()
		}
		m.running = false
		m.l.Suspend()
	case "resume":
		m.running = true
		m.l.Resume()
	case "wait", "wait for an hour", "refuse":
		after := map[string]time.Duration{"wait for an hour": time.Hour, "refuse": -1}[o.kind]
		m.refuse, m.waits = after < 0, m.waits && after == 0
		if _, err := m.l.ChangeOptions(func(o *ranch.Options) { o.RefuseAfter = after }); err != nil {
			return err
		}
	}
	m.admit()
	synctest.Wait()
	return nil
}

// doConn performs an operation on a live connection.
func (m *capModel) doConn(o modelOp, c *modelConn) {
	switch o.kind {
	case "end":
		m.live = slices.DeleteFunc(m.live, func(x *modelConn) bool { return x == c })
		close(c.end)
		m.wantLive--
	case "remove":
		ranch.RemoveConnection(c.conn)
		ranch.RemoveConnection(c.conn)
	default:
		return
	}
	if c.counted {
		m.wantUsed--
	}
	c.counted = false
}

// admit gives the free slots of the model to waiting clients.
func (m *capModel) admit() {
	if n := min(m.wantQueue, m.limit-m.wantUsed); n > 0 {
		m.wantQueue -= n
		m.wantUsed += n
		m.wantLive += n
		m.wantAdmitted += uint64(n)
	}
	if m.refuse {
		m.wantRefused += uint64(m.wantQueue)
		m.wantQueue = 0
	}
}

// check compares the listener with the model.
func (m *capModel) check() error {
	i := m.l.Info()
	type state struct {
		Used, Live, Served int
		Accepted, Refused  uint64
	}
	got := state{i.ActiveConnections, i.AllConnections, len(m.live), i.Accepted, i.Refused}
	if want := (state{m.wantUsed, m.wantLive, m.wantLive, m.wantAdmitted + m.wantRefused, m.wantRefused}); got != want {
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	if err := m.l.WaitForConnections(cancelledContext, ranch.Equal, m.wantUsed); err != nil {
		return fmt.Errorf("WaitForConnections(Equal, %d): got %w, want nil", m.wantUsed, err)
	}
	if i.AcceptErrors != 0 {
		return fmt.Errorf("got %d accept errors, want 0", i.AcceptErrors)
	}
	queued := i.PendingConnections
	if m.running {
		queued += m.f.lastListener().queued()
	}
	if queued != m.wantQueue {
		return fmt.Errorf("got %d clients in the queue or pending, want %d", queued, m.wantQueue)
	}
	if m.running && !m.noDeadline && m.waits {
		n, _ := m.f.lastListener().inAccept()
		want := max(0, min(m.acceptors, m.limit-m.wantUsed))
		if n != want || i.PendingConnections != 0 || i.WaitingAcceptors != m.acceptors-want {
			return fmt.Errorf("got %d acceptors in accept, %d waiting, want %d of %d in accept", n, i.WaitingAcceptors, want, m.acceptors)
		}
	}
	return checkCounters(i)
}
