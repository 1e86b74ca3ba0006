package conns_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"goranch/conns"
	"goranch/transport"
)

// The model is a gate and a supervisor without concurrency: numbers, three lists of waiters and a
// set of connections. The real ones execute the same actions in a synctest bubble. When all of
// their goroutines are blocked, both must agree.

const (
	modelHandshake = 5 * time.Second
	// modelTick is how far the clock advances at a time. Limits are not multiples of it, so that no
	// connection ends at the instant of a check.
	modelTick = 2 * time.Second
)

// behaviour is how the protocol of a connection reacts to being stopped or closed.
type behaviour string

const (
	cooperative behaviour = "cooperative" // returns when its context ends
	closeOnly   behaviour = "close only"  // returns when its socket is closed
	stuck       behaviour = "stuck"       // returns only by an action
)

// peer is a connection: the real one, and its state in the model.
type peer struct {
	*stub
	n         int
	behaviour behaviour
	t         fake
	finish    chan func() error // ends the handshake or the protocol with the result of the function
	release   <-chan struct{}   // the test is over

	state     state
	asked     bool
	timedOut  bool // the HandshakeTimeout has passed
	limit     time.Time
	closedFor conns.Reason // 0: it was not closed
	counted   bool
}

type state string

const (
	waiting     state = "waiting" // accepted, without a slot
	handshaking state = "handshaking"
	serving     state = "serving"
	ended       state = "ended"
)

// waitForEnd is the handshake and the protocol of p.
func (p *peer) waitForEnd(ctx context.Context) error {
	var asked, closed <-chan struct{}
	switch p.behaviour {
	case cooperative:
		asked, closed = ctx.Done(), p.closed
	case closeOnly:
		closed = p.closed
	}
	select {
	case result := <-p.finish:
		return result()
	case <-asked:
		return context.Cause(ctx)
	case <-closed:
		return net.ErrClosed
	case <-p.release:
		return nil
	}
}

func shakeModel(ctx context.Context, nc net.Conn) (net.Conn, error) {
	return nc, nc.(interface{ NetConn() net.Conn }).NetConn().(*peer).waitForEnd(ctx)
}

func serveModel(ctx context.Context, c *transport.Conn) error {
	return c.NetConn().(*peer).waitForEnd(ctx)
}

// ending is a way in which a protocol, or a handshake, ends by itself.
type ending struct {
	name   string
	do     func() error
	reason conns.Reason
}

var endings = []ending{
	{"ok", func() error { return nil }, conns.Finished},
	{"error", func() error { return errBoom }, conns.Failed},
	{"eof", func() error { return io.EOF }, conns.PeerClosed},
	{"panic", func() error { panic("a test") }, conns.Panicked},
	{"goexit", func() error { runtime.Goexit(); return nil }, conns.Panicked},
}

// call is a goroutine in a blocking call, and the expected result.
type call struct {
	name    string
	cancel  context.CancelCauseFunc
	done    chan error
	settled bool // in the model it has returned want
	want    error

	interrupts    atomic.Int32 // of ReservePending
	wantInterrupt bool
}

// outcome is the part of a conns.ConnEnd that is compared.
type outcome struct {
	Reason conns.Reason
	Served bool
}

type model struct {
	*rapid.T
	gate *conns.Gate
	sup  *conns.Supervisor

	release  chan struct{}
	calls    []*call
	faults   faultLog
	limitNow atomic.Int64 // set before SetLimit, so that the observer does not compare with an older limit
	stopped  atomic.Bool  // Drain has begun

	mu      sync.Mutex
	started map[*peer]*transport.Conn
	ended   map[*peer]outcome

	// The model.
	peers     []*peer
	reserves  []*call
	pending   []*call
	confirms  []*call
	pendingOf map[*call]*peer
	state     conns.GateState
	ceiling   int // the most that Used+Reserved may be: the limit, or what it was when that was lowered
	counts    conns.Counters
	ends      map[*peer]outcome
	shutdowns []*shutdown
}

type shutdown struct {
	*call
	aborted time.Time // zero: not yet
}

func newModel(t *rapid.T) *model {
	limit := rapid.IntRange(0, 4).Draw(t, "limit")
	m := &model{
		T: t, gate: conns.NewGate(limit), release: make(chan struct{}),
		started: map[*peer]*transport.Conn{}, ended: map[*peer]outcome{}, pendingOf: map[*call]*peer{}, ends: map[*peer]outcome{},
	}
	m.state.Limit, m.ceiling = limit, limit
	m.limitNow.Store(int64(limit))
	used := 0
	m.gate.Observe(func(s conns.GateState) {
		if limit := int(m.limitNow.Load()); s.Used > used && s.Used > limit {
			m.faults.add("got %d used slots as one was added, want at most %d", s.Used, limit)
		}
		used = s.Used
	})
	m.sup = conns.New(conns.Config{
		Gate: m.gate, Settings: conns.Settings{HandshakeTimeout: modelHandshake},
		Started: func(c *transport.Conn) {
			p := c.NetConn().(*peer)
			if m.stopped.Load() {
				m.faults.add("connection %d: got Started after Drain began, want Refused", p.n)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.started[p] != nil {
				m.faults.add("connection %d: got Started twice, want once", p.n)
			}
			m.started[p] = c
		},
		Ended: func(e conns.ConnEnd) {
			p := e.Conn.NetConn().(*peer)
			m.mu.Lock()
			defer m.mu.Unlock()
			if _, twice := m.ended[p]; twice {
				m.faults.add("connection %d: got Ended twice, want once", p.n)
			}
			m.ended[p] = outcome{e.Reason, e.Served}
			if s := imbalance(m.sup.Counters()); s != "" {
				m.faults.add("%s", s)
			}
		},
	})
	return m
}

// wait runs f in a goroutine.
func (m *model) wait(name string, f func(context.Context) error) *call {
	ctx, cancel := context.WithCancelCause(bg)
	c := &call{name: name, cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- f(ctx) }()
	m.calls = append(m.calls, c)
	return c
}

func (c *call) settle(err error) { c.settled, c.want = true, err }

func numbered(m map[*peer]outcome) map[int]outcome {
	all := make(map[int]outcome, len(m))
	for p, f := range m {
		all[p.n] = f
	}
	return all
}

func TestModel(t *testing.T) {
	for i := range 8 { // rapid does a hundred runs each, and some faults take a few hundred
		t.Run(fmt.Sprint(i), func(t *testing.T) { rapid.Check(t, runModel(t)) })
	}
}

func runModel(t *testing.T) func(*rapid.T) {
	return func(rt *rapid.T) {
		var failure any // rapid's own panic, which has to leave the bubble
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			m := newModel(rt)
			defer m.clear()
			rt.Repeat(map[string]func(*rapid.T){
				"":             m.Check,
				"Reserve":      m.Reserve,
				"TryReserve":   m.TryReserve,
				"Pending":      m.ReservePending,
				"Cancel":       m.Cancel,
				"Accept":       m.Accept,
				"TryAccept":    m.TryAccept,
				"CancelWaiter": m.CancelWaiter,
				"SetLimit":     m.SetLimit,
				"Finish":       m.Finish,
				"Remove":       m.Remove,
				"RemoveGone":   m.RemoveGone,
				"Kill":         m.Kill,
				"Refuse":       m.RefuseAtCap,
				"Shrink":       m.Shrink,
				"Shutdown":     m.Shutdown,
				"Abort":        m.Abort,
				"Time":         m.Time,
			})
			m.finish()
		})
		if failure != nil {
			panic(failure)
		}
	}
}
