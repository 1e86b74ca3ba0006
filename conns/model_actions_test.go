package conns_test

import (
	"context"
	"math"
	"slices"
	"time"

	"pgregory.net/rapid"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// The actions.

func (m *model) newPeer() *peer {
	p := &peer{
		stub: newStub(), n: len(m.peers), state: waiting, finish: make(chan func() error), release: m.release,
		behaviour: rapid.SampledFrom([]behaviour{cooperative, closeOnly, stuck}).Draw(m.T, "behaviour"),
		t:         fake{shake: shakeModel},
	}
	if rapid.Bool().Draw(m.T, "plain") {
		p.t = fake{plain: true}
	}
	m.peers = append(m.peers, p)
	return p
}

// reservations returns the number of reservations that are not being confirmed.
func (m *model) reservations() int { return m.state.Reserved - len(m.confirms) }

func (m *model) Reserve(*rapid.T) {
	c := m.wait("Reserve", m.gate.Reserve)
	m.reserves = append(m.reserves, c)
	m.grant()
}

func (m *model) ReservePending(*rapid.T) {
	wait := m.state.Used+m.state.Reserved >= m.state.Limit
	var c *call
	begin := make(chan struct{})
	c = m.wait("ReservePending", func(ctx context.Context) error {
		<-begin // c is set
		return m.gate.ReservePending(ctx, func() { c.interrupts.Add(1) })
	})
	c.wantInterrupt = wait
	close(begin)
	m.pending = append(m.pending, c)
	m.grant()
}

func (m *model) TryReserve(*rapid.T) {
	want := m.state.Used+m.state.Reserved < m.state.Limit
	if want {
		m.state.Reserved++
	}
	if got := m.gate.TryReserve(); got != want {
		m.Fatalf("TryReserve: got %t, want %t", got, want)
	}
}

func (m *model) Cancel(t *rapid.T) {
	if m.reservations() == 0 {
		t.Skip("no reservation")
	}
	m.state.Reserved--
	m.grant()
	m.gate.Cancel()
}

// Accept confirms a reservation, waiting if necessary.
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
			m.sup.Refuse(bg, conns.Refused, p.t, p, nil)
		}
		return err
	})
	m.pendingOf[c] = p
	m.confirms = append(m.confirms, c)
	m.grant()
}

// TryAccept is Accept without waiting.
func (m *model) TryAccept(t *rapid.T) {
	if m.reservations() == 0 {
		t.Skip("no reservation")
	}
	want := len(m.confirms) == 0 && m.state.Used < m.state.Limit
	if got := m.gate.TryConfirm(); got != want {
		m.Fatalf("TryConfirm: got %t, want %t", got, want)
	}
	if want {
		p := m.newPeer()
		m.state.Reserved--
		m.use()
		m.admit(p)
		m.grant()
		m.sup.Start(bg, p.t, p, protocol.Func(serveModel))
	}
}

// CancelWaiter ends the context of a waiter at the gate.
func (m *model) CancelWaiter(t *rapid.T) {
	all := slices.Concat(m.reserves, m.pending, m.confirms)
	if len(all) == 0 {
		t.Skip("no waiter")
	}
	c := rapid.SampledFrom(all).Draw(t, "waiter")
	c.settle(errGaveUp)
	isC := func(o *call) bool { return o == c }
	if slices.Contains(m.confirms, c) {
		m.state.Reserved--
		m.refuse(m.pendingOf[c])
	}
	m.reserves = slices.DeleteFunc(m.reserves, isC)
	m.pending = slices.DeleteFunc(m.pending, isC)
	m.confirms = slices.DeleteFunc(m.confirms, isC)
	m.grant()
	c.cancel(errGaveUp)
}

func (m *model) SetLimit(t *rapid.T) {
	n := rapid.OneOf(rapid.IntRange(-1, 6), rapid.Just(math.MaxInt), rapid.Just(0)).Draw(t, "limit")
	m.limitNow.Store(int64(max(n, 0)))
	m.ceiling = max(n, 0, m.state.Used+m.state.Reserved)
	m.state.Limit = max(n, 0)
	m.grant()
	over := m.gate.SetLimit(n)
	want := m.state.Used+m.state.Reserved > m.state.Limit
	if over != want && len(m.shutdowns) == 0 { // after a shutdown, admitted connections are refused a moment later
		m.Fatalf("SetLimit(%d): got over %t, want %t", n, over, want)
	}
}

func (m *model) anyLive(t *rapid.T) *peer {
	all := m.live()
	if len(all) == 0 {
		t.Skip("no live connection")
	}
	return rapid.SampledFrom(all).Draw(t, "connection")
}

// Finish ends the handshake or the protocol of a connection.
func (m *model) Finish(t *rapid.T) {
	p := m.anyLive(t)
	e := rapid.SampledFrom(endings).Draw(t, "ending")
	m.Logf("connection %d (%s, %s): %s", p.n, p.behaviour, p.state, e.name)
	switch {
	case p.state == serving:
		m.end(p, e.reason)
	case e.reason != conns.Finished || p.timedOut:
		m.end(p, e.reason)
	default: // the protocol begins, and it may have been asked to stop already
		p.state = serving
		if p.asked && p.behaviour == cooperative || p.closedFor != 0 && p.behaviour != stuck {
			m.end(p, conns.Shutdown)
		}
	}
	p.finish <- e.do
}

func (m *model) Remove(t *rapid.T) {
	p := m.anyLive(t)
	m.mu.Lock()
	c := m.started[p]
	m.mu.Unlock()
	m.uncount(p)
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		conns.Remove(c)
	}
}

// RemoveGone removes a connection that has ended.
func (m *model) RemoveGone(t *rapid.T) {
	m.mu.Lock()
	var all []*transport.Conn
	for _, p := range m.peers {
		if c := m.started[p]; c != nil && p.state == ended {
			all = append(all, c)
		}
	}
	m.mu.Unlock()
	if len(all) == 0 {
		t.Skip("no connection has ended")
	}
	conns.Remove(all[rapid.IntRange(0, len(all)-1).Draw(t, "which")])
}

func (m *model) Kill(t *rapid.T) {
	p := m.anyLive(t)
	m.mu.Lock()
	id := m.started[p].ID()
	m.mu.Unlock()
	m.abort(p, conns.Killed)
	if !kill(m.sup, id) {
		m.Fatalf("Kill of connection %d (id %d): got 0, want 1", p.n, id)
	}
}

func (m *model) Shutdown(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 { // else shutdowns would come too early in most runs
		t.Skip("not yet")
	}
	m.stopped.Store(true)
	s := &shutdown{call: m.wait("Drain", func(ctx context.Context) error { return m.sup.Drain(ctx, conns.DrainOptions{}) })}
	m.shutdowns = append(m.shutdowns, s)
	for _, p := range m.live() {
		m.ask(p)
	}
}

// Abort ends the context of a shutdown.
func (m *model) Abort(t *rapid.T) {
	if len(m.shutdowns) == 0 {
		t.Skip("no shutdown")
	}
	s := rapid.SampledFrom(m.shutdowns).Draw(t, "shutdown")
	s.cancel(errGaveUp)
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
		if p.state != handshaking || p.asked || p.closedFor != 0 || time.Now().Before(p.limit) {
			continue
		}
		p.timedOut = true
		if p.behaviour != stuck { // the socket is closed
			m.end(p, conns.TimedOut)
		}
	}
}

// RefuseAtCap refuses a connection without a slot.
func (m *model) RefuseAtCap(*rapid.T) {
	p := m.newPeer()
	p.state = ended
	m.counts.Accepted++
	m.counts.Refused++
	m.counts.Ended[conns.RefusedAtCap]++
	m.ends[p] = outcome{Reason: conns.RefusedAtCap}
	m.sup.Refuse(bg, conns.RefusedAtCap, p.t, p, protocol.Func(serveModel))
}

// Shrink evicts the oldest connections without a grace until n are left.
func (m *model) Shrink(t *rapid.T) {
	n := rapid.IntRange(0, 4).Draw(t, "n")
	var all []*peer
	m.mu.Lock()
	for _, p := range m.live() {
		if p.counted && !p.asked && p.closedFor == 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *peer) int { return int(m.started[a].ID()) - int(m.started[b].ID()) })
	m.mu.Unlock()
	all = all[:max(len(all)-n, 0)]
	for _, p := range all {
		m.abort(p, conns.Evicted)
	}
	if got := m.sup.Evict(conns.EvictOldest, func(candidates int) int { return candidates - n }); got != len(all) {
		m.Fatalf("Evict down to %d: got %d, want %d", n, got, len(all))
	}
}
