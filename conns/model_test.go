package conns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// The model is a gate and a supervisor written as if there were no concurrency: numbers,
// two lists of waiters and a set of connections. The real ones do the same actions in a
// bubble, where synctest.Wait tells when they have done all they can; then both must agree.

const (
	modelHandshake = 5 * time.Second
	// modelTick is how far the clock moves at a time. Limits are no multiples of it, so
	// that nothing ends at the very moment in which the model looks.
	modelTick = 2 * time.Second
)

// manner is how a peer's connection behaves when it is told or closed.
type manner string

const (
	obeys    manner = "obeys"    // ends when its context does
	stubborn manner = "stubborn" // ends when its socket does
	stuck    manner = "stuck"    // ends when it likes
)

// peer is a connection of the model: the real thing in its upper half, what must have
// become of it in the lower.
type peer struct {
	*stub
	n       int
	manner  manner
	t       fake
	orders  chan func() error // what to do next, for the handshake or the protocol
	release <-chan struct{}   // the test is over

	state   state
	told    bool
	late    bool // the handshake's limit has passed
	limit   time.Time
	fate    conns.Reason // 0: none
	counted bool
}

type state string

const (
	waiting state = "waiting" // at the gate, in hand
	shaking state = "shaking"
	serving state = "serving"
	gone    state = "gone"
)

// obey does as it is told until told to end.
func (p *peer) obey(ctx context.Context) error {
	var told, closed <-chan struct{}
	switch p.manner {
	case obeys:
		told, closed = ctx.Done(), p.closed
	case stubborn:
		closed = p.closed
	}
	select {
	case order := <-p.orders:
		return order()
	case <-told:
		return context.Cause(ctx)
	case <-closed:
		return net.ErrClosed
	case <-p.release:
		return nil
	}
}

func shakeModel(ctx context.Context, nc net.Conn) (net.Conn, error) {
	return nc, nc.(interface{ NetConn() net.Conn }).NetConn().(*peer).obey(ctx)
}

func serveModel(ctx context.Context, c *transport.Conn) error {
	return c.NetConn().(*peer).obey(ctx)
}

// ending is a way in which a protocol, or a handshake, comes to its end by itself.
type ending struct {
	name   string
	do     func() error
	reason conns.Reason
}

var endings = []ending{
	{"ok", func() error { return nil }, conns.Finished},
	{"error", func() error { return errBoom }, conns.Failed},
	{"eof", func() error { return io.EOF }, conns.PeerClosed},
	{"panic", func() error { panic("oh dear") }, conns.Panicked},
	{"goexit", func() error { runtime.Goexit(); return nil }, conns.Panicked},
}

// call is a goroutine that waits for something, and what must come of it.
type call struct {
	name    string
	cancel  context.CancelCauseFunc
	done    chan error
	settled bool
	want    error
}

// fate is how a connection ended: what is compared of conns.ConnEnd.
type fate struct {
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
	limitNow atomic.Int64 // set before SetLimit raises it, so that the observer is never behind
	stopped  atomic.Bool  // Shutdown has begun

	mu      sync.Mutex
	started map[*peer]*transport.Conn
	ended   map[*peer]fate

	// The model proper.
	peers     []*peer
	reserves  []*call
	confirms  []*call
	inHand    map[*call]*peer
	state     conns.GateState
	ceiling   int // what Used+Reserved may not exceed: the limit, or what it was when that was lowered
	counts    conns.Counters
	ends      map[*peer]fate
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
		started: map[*peer]*transport.Conn{}, ended: map[*peer]fate{}, inHand: map[*call]*peer{}, ends: map[*peer]fate{},
	}
	m.state.Limit, m.ceiling = limit, limit
	m.limitNow.Store(int64(limit))
	used := 0
	m.gate.Observe(func(s conns.GateState) {
		if limit := int(m.limitNow.Load()); s.Used > used && s.Used > limit {
			m.faults.add("admitted number %d, the limit is %d", s.Used, limit)
		}
		used = s.Used
	})
	m.sup = conns.New(conns.Config{
		Gate: m.gate, Settings: conns.Settings{HandshakeTimeout: modelHandshake},
		Started: func(c *transport.Conn) {
			p := c.NetConn().(*peer)
			if m.stopped.Load() {
				m.faults.add("connection %d was admitted behind the shutdown", p.n)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.started[p] != nil {
				m.faults.add("connection %d started twice", p.n)
			}
			m.started[p] = c
		},
		Ended: func(e conns.ConnEnd) {
			p := e.Conn.NetConn().(*peer)
			m.mu.Lock()
			defer m.mu.Unlock()
			if _, twice := m.ended[p]; twice {
				m.faults.add("connection %d ended twice", p.n)
			}
			m.ended[p] = fate{e.Reason, e.Served}
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

// The model's half of the actions.

func (m *model) use() {
	m.state.Used++
	m.state.Peak = max(m.state.Peak, m.state.Used)
}

// flow lets in whom the gate lets in.
func (m *model) flow() {
	for {
		var admitted []*call
		for len(m.confirms) > 0 && m.state.Used < m.state.Limit {
			m.state.Reserved--
			m.use()
			admitted, m.confirms = append(admitted, m.confirms[0]), m.confirms[1:]
		}
		for len(m.reserves) > 0 && m.state.Used+m.state.Reserved < m.state.Limit {
			m.state.Reserved++
			m.reserves[0].settle(nil)
			m.reserves = m.reserves[1:]
		}
		if len(admitted) == 0 {
			return
		}
		for _, c := range admitted {
			c.settle(nil)
			m.admit(m.inHand[c])
		}
	}
}

func (m *model) admit(p *peer) {
	if len(m.shutdowns) > 0 {
		m.refuse(p)
		m.state.Used--
		return
	}
	p.counted, p.state, p.limit = true, shaking, time.Now().Add(modelHandshake)
	if p.t.plain {
		p.state = serving
	}
	m.counts.Accepted++
	m.counts.Live++
}

func (m *model) refuse(p *peer) {
	p.state = gone
	m.counts.Accepted++
	m.counts.Refused++
	m.counts.Ended[conns.Refused]++
	m.ends[p] = fate{Reason: conns.Refused}
}

// ends with the reason r, unless something weighs more.
func (m *model) end(p *peer, r conns.Reason) {
	f := fate{r, p.state == serving}
	switch {
	case r == conns.Panicked:
	case p.fate != 0:
		f.Reason = p.fate
	case !f.Served && p.late:
		f.Reason = conns.HandshakeTimeout
	case !f.Served && p.told:
		f.Reason = conns.Shutdown
	case !f.Served:
		f.Reason = conns.HandshakeFailed
	case p.told && r == conns.Finished:
		f.Reason = conns.Shutdown
	}
	if f.Served {
		m.counts.Served++
	} else {
		m.counts.HandshakeFailed++
	}
	p.state = gone
	m.counts.Live--
	m.counts.Ended[f.Reason]++
	m.ends[p] = f
	m.uncount(p)
}

func (m *model) uncount(p *peer) {
	if p.counted {
		p.counted = false
		m.state.Used--
		m.flow()
	}
}

func (m *model) tell(p *peer) {
	p.told = true
	if p.manner == obeys {
		m.end(p, conns.Shutdown)
	}
}

func (m *model) abort(p *peer, r conns.Reason) {
	if p.fate == 0 {
		p.fate = r
	}
	if p.manner != stuck {
		m.end(p, conns.Finished)
	}
}

// live returns the connections that the supervisor knows.
func (m *model) live() []*peer {
	var all []*peer
	for _, p := range m.peers {
		if p.state == shaking || p.state == serving {
			all = append(all, p)
		}
	}
	return all
}

// The actions.

func (m *model) newPeer() *peer {
	p := &peer{
		stub: newStub(), n: len(m.peers), state: waiting, orders: make(chan func() error), release: m.release,
		manner: rapid.SampledFrom([]manner{obeys, stubborn, stuck}).Draw(m.T, "manner"),
		t:      fake{shake: shakeModel},
	}
	if rapid.Bool().Draw(m.T, "plain") {
		p.t = fake{plain: true}
	}
	m.peers = append(m.peers, p)
	return p
}

// reservations returns how many acceptors hold one and no connection.
func (m *model) reservations() int { return m.state.Reserved - len(m.confirms) }

func (m *model) Reserve(*rapid.T) {
	c := m.wait("Reserve", m.gate.Reserve)
	m.reserves = append(m.reserves, c)
	m.flow()
}

func (m *model) TryReserve(*rapid.T) {
	want := len(m.reserves) == 0 && m.state.Used+m.state.Reserved < m.state.Limit
	if want {
		m.state.Reserved++
	}
	if got := m.gate.TryReserve(); got != want {
		m.Fatalf("TryReserve: %t, want %t", got, want)
	}
}

func (m *model) Cancel(t *rapid.T) {
	if m.reservations() == 0 {
		t.Skip("no reservation")
	}
	m.state.Reserved--
	m.flow()
	m.gate.Cancel()
}

// Accept is an acceptor that has accepted, and waits for a slot if it must.
func (m *model) Accept(t *rapid.T) {
	if m.reservations() == 0 {
		t.Skip("no reservation")
	}
	p := m.newPeer()
	c := m.wait("Confirm", func(ctx context.Context) error {
		err := m.gate.Confirm(ctx)
		if err == nil {
			m.sup.Start(bg, p.t, p, protocol.Func(serveModel))
		} else {
			m.sup.Refuse(p.t, p)
		}
		return err
	})
	m.inHand[c] = p
	m.confirms = append(m.confirms, c)
	m.flow()
}

// TryAccept is an acceptor that does not wait.
func (m *model) TryAccept(t *rapid.T) {
	if m.reservations() == 0 {
		t.Skip("no reservation")
	}
	want := len(m.confirms) == 0 && m.state.Used < m.state.Limit
	if got := m.gate.TryConfirm(); got != want {
		m.Fatalf("TryConfirm: %t, want %t", got, want)
	}
	if want {
		p := m.newPeer()
		m.state.Reserved--
		m.use()
		m.admit(p)
		m.flow()
		m.sup.Start(bg, p.t, p, protocol.Func(serveModel))
	}
}

// GiveUp is one of those who wait at the gate, who does so no longer.
func (m *model) GiveUp(t *rapid.T) {
	all := slices.Concat(m.reserves, m.confirms)
	if len(all) == 0 {
		t.Skip("nobody waits")
	}
	c := rapid.SampledFrom(all).Draw(t, "waiter")
	c.settle(errTired)
	if i := slices.Index(m.reserves, c); i >= 0 {
		m.reserves = slices.Delete(m.reserves, i, i+1)
	} else {
		i := slices.Index(m.confirms, c)
		m.confirms = slices.Delete(m.confirms, i, i+1)
		m.state.Reserved--
		m.refuse(m.inHand[c])
	}
	m.flow()
	c.cancel(errTired)
}

func (m *model) SetLimit(t *rapid.T) {
	n := rapid.OneOf(rapid.IntRange(-1, 6), rapid.Just(conns.Unlimited), rapid.Just(0)).Draw(t, "limit")
	m.limitNow.Store(int64(max(n, 0)))
	m.ceiling = max(n, 0, m.state.Used+m.state.Reserved)
	m.state.Limit = max(n, 0)
	m.flow()
	over := m.gate.SetLimit(n)
	want := m.state.Used+m.state.Reserved > m.state.Limit
	if over != want && len(m.shutdowns) == 0 { // else it may be over for a moment, until those let in are refused
		m.Fatalf("SetLimit(%d): over %t, want %t", n, over, want)
	}
}

func (m *model) someone(t *rapid.T) *peer {
	all := m.live()
	if len(all) == 0 {
		t.Skip("nobody lives")
	}
	return rapid.SampledFrom(all).Draw(t, "connection")
}

// Order has a connection end its handshake or its protocol by itself.
func (m *model) Order(t *rapid.T) {
	p := m.someone(t)
	e := rapid.SampledFrom(endings).Draw(t, "ending")
	m.Logf("connection %d (%s, %s): %s", p.n, p.manner, p.state, e.name)
	switch {
	case p.state == serving:
		m.end(p, e.reason)
	case e.reason != conns.Finished || p.late:
		m.end(p, e.reason)
	default: // the handshake is over, and the protocol may find that it is told already
		p.state = serving
		if p.told && p.manner == obeys || p.fate != 0 && p.manner != stuck {
			m.end(p, conns.Shutdown)
		}
	}
	p.orders <- e.do
}

func (m *model) Remove(t *rapid.T) {
	p := m.someone(t)
	m.mu.Lock()
	c := m.started[p]
	m.mu.Unlock()
	m.uncount(p)
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		conns.Remove(c)
	}
}

// RemoveGone removes one that has ended, or was refused.
func (m *model) RemoveGone(t *rapid.T) {
	m.mu.Lock()
	var all []*transport.Conn
	for _, p := range m.peers {
		if c := m.started[p]; c != nil && p.state == gone {
			all = append(all, c)
		}
	}
	m.mu.Unlock()
	if len(all) == 0 {
		t.Skip("nobody has gone")
	}
	conns.Remove(all[rapid.IntRange(0, len(all)-1).Draw(t, "which")])
}

func (m *model) Kill(t *rapid.T) {
	p := m.someone(t)
	m.mu.Lock()
	id := m.started[p].ID()
	m.mu.Unlock()
	m.abort(p, conns.Killed)
	if !m.sup.Kill(id) {
		m.Fatalf("connection %d (id %d) was not there to kill", p.n, id)
	}
}

func (m *model) Shutdown(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 { // or it would be the first thing that happens
		t.Skip("not yet")
	}
	m.stopped.Store(true)
	s := &shutdown{call: m.wait("Shutdown", m.sup.Shutdown)}
	m.shutdowns = append(m.shutdowns, s)
	for _, p := range m.live() {
		m.tell(p)
	}
}

// Abort is the limit of a shutdown.
func (m *model) Abort(t *rapid.T) {
	if len(m.shutdowns) == 0 {
		t.Skip("no shutdown")
	}
	s := rapid.SampledFrom(m.shutdowns).Draw(t, "shutdown")
	s.cancel(errTired)
	if s.settled || !s.aborted.IsZero() {
		return
	}
	s.aborted = time.Now()
	for _, p := range m.live() {
		m.abort(p, conns.Aborted)
	}
}

func (m *model) Time(*rapid.T) {
	time.Sleep(modelTick)
	for _, p := range m.live() {
		if p.state != shaking || p.told || p.fate != 0 || time.Now().Before(p.limit) {
			continue
		}
		p.late = true
		if p.manner != stuck { // the socket is closed
			m.end(p, conns.TimedOut)
		}
	}
}

// Check compares, after each action.
func (m *model) Check(*rapid.T) {
	synctest.Wait()
	for _, s := range m.shutdowns {
		if s.settled {
			continue
		}
		if len(m.live()) == 0 {
			s.settle(nil)
		} else if !s.aborted.IsZero() && time.Since(s.aborted) > conns.StuckGrace {
			m.checkStuck(s)
		}
	}
	m.checkCalls()
	m.state.Waiting = len(m.reserves) + len(m.confirms)
	if diff := cmp.Diff(m.state, m.gate.State()); diff != "" {
		m.Fatalf("gate (-want +got):\n%s", diff)
	}
	m.ceiling = max(m.state.Limit, min(m.ceiling, m.state.Used+m.state.Reserved))
	if want := m.state.Used+m.state.Reserved > m.state.Limit; m.gate.Over() != want {
		m.Fatalf("Over: %t, want %t", !want, want)
	}
	if s := m.gate.State(); s.Used+s.Reserved > m.ceiling {
		m.Fatalf("%d slots in use, %d reserved: more than %d", s.Used, s.Reserved, m.ceiling)
	}
	got := m.sup.Counters()
	if diff := cmp.Diff(m.counts, got); diff != "" {
		m.Fatalf("counters (-want +got):\n%s", diff)
	}
	if s := imbalance(got); s != "" {
		m.Fatal(s)
	}
	m.checkList()
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(numbered(m.ends), numbered(m.ended)); diff != "" {
		m.Fatalf("ends (-want +got):\n%s", diff)
	}
	if s := m.faults.first(); s != "" {
		m.Fatal(s)
	}
}

func (m *model) checkCalls() {
	var left []*call
	for _, c := range m.calls {
		select {
		case err := <-c.done:
			if !c.settled || !errors.Is(err, c.want) {
				m.Fatalf("%s returned %v; settled %t, want %v", c.name, err, c.settled, c.want)
			}
		default:
			if c.settled {
				m.Fatalf("%s still waits, want %v", c.name, c.want)
			}
			left = append(left, c)
		}
	}
	m.calls = left
}

// checkStuck wants the error of a shutdown that has waited long enough.
func (m *model) checkStuck(s *shutdown) {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool { return c == s.call })
	s.settle(nil)
	var e *conns.StuckError
	select {
	case err := <-s.done:
		if !errors.As(err, &e) {
			m.Fatalf("Shutdown returned %v, want a StuckError", err)
		}
	default:
		m.Fatalf("Shutdown waits longer than its grace")
	}
	if len(e.Conns) == 0 {
		m.Fatalf("Shutdown names nobody: %v", e)
	}
}

func (m *model) checkList() {
	type entry struct {
		Serving, Counted bool
	}
	want, got := map[uint64]entry{}, map[uint64]entry{}
	m.mu.Lock()
	for _, p := range m.live() {
		if c := m.started[p]; c == nil {
			m.Errorf("connection %d was not told as started", p.n)
		} else {
			want[c.ID()] = entry{p.state == serving, p.counted}
		}
	}
	m.mu.Unlock()
	for _, c := range list(m.sup) {
		got[c.ID] = entry{c.Served, c.Counted}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.Fatalf("List (-want +got):\n%s", diff)
	}
}

func numbered(m map[*peer]fate) map[int]fate {
	all := make(map[int]fate, len(m))
	for p, f := range m {
		all[p.n] = f
	}
	return all
}

// finish ends everything in order; nothing may be left.
func (m *model) finish() {
	for _, c := range m.reserves {
		c.cancel(errTired)
		c.settle(errTired)
	}
	for _, c := range m.confirms {
		c.cancel(errTired)
		c.settle(errTired)
		m.state.Reserved--
		m.refuse(m.inHand[c])
	}
	m.reserves, m.confirms = nil, nil
	for _, p := range m.live() {
		m.end(p, conns.Panicked)
		p.orders <- endings[3].do
	}
	for range m.state.Reserved {
		m.gate.Cancel()
	}
	m.state.Reserved = 0
	m.Check(m.T)
	if m.state.Used != 0 {
		m.Fatalf("the model itself has lost a slot: %+v", m.state)
	}
	if err := m.sup.Shutdown(bg); err != nil {
		m.Fatal(err)
	}
}

// clear lets every goroutine go, also those of a test that failed.
func (m *model) clear() {
	close(m.release)
	for _, c := range m.calls {
		c.cancel(nil)
	}
	for _, s := range m.shutdowns {
		s.cancel(nil)
	}
	synctest.Wait()
}

func TestModel(t *testing.T) {
	for i := range 8 { // a hundred runs are soon over, and some faults take a few hundred
		t.Run(fmt.Sprint(i), func(t *testing.T) { rapid.Check(t, runModel(t)) })
	}
}

func runModel(t *testing.T) func(*rapid.T) {
	return func(rt *rapid.T) {
		var failure any // of rapid, which must have it back outside the bubble
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			m := newModel(rt)
			defer m.clear()
			rt.Repeat(map[string]func(*rapid.T){
				"":           m.Check,
				"Reserve":    m.Reserve,
				"TryReserve": m.TryReserve,
				"Cancel":     m.Cancel,
				"Accept":     m.Accept,
				"TryAccept":  m.TryAccept,
				"GiveUp":     m.GiveUp,
				"SetLimit":   m.SetLimit,
				"Order":      m.Order,
				"Remove":     m.Remove,
				"RemoveGone": m.RemoveGone,
				"Kill":       m.Kill,
				"Refuse":     m.RefuseAtCap,
				"Shrink":     m.Shrink,
				"Shutdown":   m.Shutdown,
				"Abort":      m.Abort,
				"Time":       m.Time,
			})
			m.finish()
		})
		if failure != nil {
			panic(failure)
		}
	}
}

// The same contracts with the real scheduler: acceptors, a limit that moves, peers that
// end in every way, some killed, some removed, and at last a shutdown in the middle of it.
func TestStress(t *testing.T) {
	const top, acceptors = 8, 6
	total := int64(3000)
	if testing.Short() {
		total = 500
	}
	var (
		faults                       faultLog
		inside, served, began, ended atomic.Int64
		over                         atomic.Bool // Shutdown has returned
		g                            = conns.NewGate(top)
		wg, watchers                 sync.WaitGroup
		stop                         = make(chan struct{})
	)
	used := 0
	g.Observe(func(s conns.GateState) {
		if s.Used > used && s.Used > s.Limit {
			faults.add("admitted number %d, the limit is %d", s.Used, s.Limit)
		}
		used = s.Used
	})
	ends := make(map[*transport.Conn]bool)
	var endsMu sync.Mutex
	sup := conns.New(conns.Config{
		Gate: g, Settings: conns.Settings{HandshakeTimeout: time.Second},
		Started: func(*transport.Conn) {
			began.Add(1)
			if over.Load() {
				faults.add("admitted behind the shutdown")
			}
		},
		Ended: func(e conns.ConnEnd) {
			ended.Add(1)
			endsMu.Lock()
			defer endsMu.Unlock()
			if ends[e.Conn] {
				faults.add("connection %d ended twice", e.Conn.ID())
			}
			ends[e.Conn] = true
		},
	})
	p := protocol.Func(func(ctx context.Context, c *transport.Conn) error {
		served.Add(1)
		var once sync.Once
		leave := func() { once.Do(func() { inside.Add(-1) }) }
		defer leave()
		if n := inside.Add(1); n > top {
			faults.add("%d are counted, the cap was never above %d", n, top)
		}
		for range rand.IntN(4) {
			runtime.Gosched()
		}
		switch rand.IntN(8) {
		case 0:
			panic("oh dear")
		case 1:
			runtime.Goexit()
		case 2:
			return errBoom
		case 3: // counted no longer, it lives on for a while
			leave()
			conns.Remove(c)
			conns.Remove(c)
			runtime.Gosched()
		case 4: // until it is killed, or shut down
			_, err := c.Read(make([]byte, 1))
			return err
		}
		return nil
	})
	transports := []fake{
		{plain: true},
		{},
		{shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom }},
		{shake: func(context.Context, net.Conn) (net.Conn, error) { panic("oh dear") }},
	}
	every := func(f func()) {
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
					runtime.Gosched()
				}
			}
		})
	}
	every(func() { // 0 now and then; as the last, it would leave the acceptors parked
		g.SetLimit(rand.IntN(top + 1))
		g.SetLimit(top)
	})
	every(func() {
		if s := g.State(); s.Used+s.Reserved > top || s.Used < 0 || s.Reserved < 0 || s.Peak > top {
			faults.add("the gate: %+v", s)
		}
		if s := imbalance(sup.Counters()); s != "" {
			faults.add("%s", s)
		}
	})
	every(func() {
		if all := list(sup); len(all) > 0 {
			sup.Kill(all[rand.IntN(len(all))].ID)
		}
	})
	life, endOfLife := context.WithCancelCause(bg)
	var accepted atomic.Int64
	half := make(chan struct{})
	for range acceptors {
		wg.Go(func() {
			for accepted.Load() < total {
				ctx, cancel := context.WithCancelCause(life)
				if rand.IntN(4) == 0 {
					go cancel(errTired)
				}
				if g.Reserve(ctx) == nil {
					switch nc, t := newStub(), transports[rand.IntN(len(transports))]; {
					case rand.IntN(10) == 0:
						g.Cancel()
					case g.TryConfirm() || g.Confirm(ctx) == nil:
						sup.Start(bg, t, nc, p)
						if accepted.Add(1) == total/2 {
							close(half)
						}
					default:
						sup.Refuse(t, nc)
						if accepted.Add(1) == total/2 {
							close(half)
						}
					}
				}
				cancel(nil)
			}
		})
	}
	receive(t, half)
	for range 2 { // the second while the first goes on, or after it
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(bg, 10*time.Second)
			defer cancel()
			if err := sup.Shutdown(ctx); err != nil {
				faults.add("%v", err)
			}
			over.Store(true)
			if n := sup.Counters().Live; n != 0 {
				faults.add("%d live after the shutdown", n)
			}
		})
	}
	wg.Wait()
	endOfLife(errTired)
	close(stop)
	watchers.Wait()
	faults.report(t)
	s, c := g.State(), sup.Counters()
	if s.Used != 0 || s.Reserved != 0 || s.Waiting != 0 {
		t.Errorf("slots were lost: %+v", s)
	}
	if bad := imbalance(c); bad != "" || c.Live != 0 {
		t.Errorf("%d live; %s", c.Live, bad)
	}
	type account struct{ Accepted, Started, Served, Ended, Inside int64 }
	want := account{accepted.Load(), int64(c.Accepted - c.Refused), int64(c.Served), int64(c.Accepted), 0}
	got := account{int64(c.Accepted), began.Load(), served.Load(), ended.Load(), inside.Load()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the account (-want +got):\n%s", diff)
	}
	if c.Refused == 0 || c.Served == 0 || c.HandshakeFailed == 0 || c.Ended[conns.Killed] == 0 {
		t.Errorf("not everything was tried: %+v", c)
	}
}
