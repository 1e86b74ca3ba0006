package conns

import (
	"context"
	"math"
	"sync"
)

// unlimited is the limit of a gate that admits every connection; ranch.Unlimited has this value.
const unlimited = math.MaxInt

// Gate enforces the cap of a listener: the maximum number of live connections. A slot is reserved
// by Reserve, before accept; used after Confirm, when there is a connection; and free after
// Release, or after Cancel if accept returned no connection. Reserved and used slots together never
// exceed the limit in force when a slot was taken; Confirm waits only if the limit was lowered
// since. Pending connections, which were accepted without a slot, are served before acceptors, and
// waiters in order. A gate of a [Shared] also needs a free slot there. All methods may be called
// from any goroutine.
type Gate struct {
	// Locks and group. mu guards all fields below.
	mu     *sync.Mutex // &ownMu, or that of shared
	ownMu  sync.Mutex
	shared *Shared // nil: none
	member member  // the arguments of Join

	// Slots.
	limit    int
	used     int
	reserved int
	peak     int

	// Waiters.
	confirms queue // pending connections with a reservation; not used with shared
	pending  queue // pending connections without one
	reserves queue // acceptors
	watchers map[*watcher]struct{}
}

// NewGate returns a gate that admits limit connections at once. 0 admits none, math.MaxInt any
// number; a negative limit counts as 0.
func NewGate(limit int) *Gate {
	g := &Gate{limit: max(limit, 0)}
	g.mu = &g.ownMu
	return g
}

// Reserve reserves a slot before accept, waiting until one is free. If ctx ends first, it returns
// the cause, and no slot is reserved.
func (g *Gate) Reserve(ctx context.Context) error { return g.reserve(ctx, &g.reserves, nil) }

// ReservePending is Reserve for a pending connection, which is served before acceptors. If it has
// to wait, queued is called once it is in the queue: the caller should then have acceptors cancel
// reservations as long as the state is Contended. A reservation that is granted before queued
// returns is kept even if ctx has ended.
func (g *Gate) ReservePending(ctx context.Context, queued func()) error {
	return g.reserve(ctx, &g.pending, queued)
}

func (g *Gate) reserve(ctx context.Context, q *queue, queued func()) error {
	g.mu.Lock()
	if g.mayReserve() { // then the queues are empty
		g.addReserved(1)
		g.mu.Unlock()
		return nil
	}
	w := q.push()
	g.mu.Unlock()
	if queued != nil {
		queued()
		select {
		case <-w.ready: // granted by what queued did, even if that has ended ctx
			return nil
		default:
		}
	}
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !q.remove(w) { // granted at the same moment
		g.addReserved(-1)
		g.wake()
	}
	return context.Cause(ctx)
}

// TryReserve reserves a slot if one is free, and reports whether it did.
func (g *Gate) TryReserve() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mayReserve() {
		return false
	}
	g.addReserved(1)
	return true
}

// Confirm turns a reservation into a used slot, after accept has returned a connection. It waits
// only if the limit was lowered since Reserve. If ctx ends first, it returns the cause, and the
// reservation is cancelled. A gate of a [Shared] cancels the reservation before it waits: another
// gate may be able to use the slot.
func (g *Gate) Confirm(ctx context.Context) error {
	if g.TryConfirm() {
		return nil
	}
	if g.shared != nil {
		g.Cancel()
		if err := g.ReservePending(ctx, nil); err != nil {
			return err
		}
		return g.Confirm(ctx)
	}
	w := g.pushConfirm()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.confirms.remove(w) {
		g.addReserved(-1)
	} else { // granted at the same moment
		g.unuse()
	}
	g.wake()
	return context.Cause(ctx)
}

// pushConfirm puts a pending connection with a reservation in the queue.
func (g *Gate) pushConfirm() *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checkReserved()
	w := g.confirms.push()
	g.wake() // a slot may have been released since TryConfirm
	return w
}

// TryConfirm is Confirm if that need not wait; otherwise it does nothing and reports false.
func (g *Gate) TryConfirm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.confirms.empty() || !g.mayUse() {
		return false
	}
	g.unreserve()
	g.use()
	return true
}

// Cancel frees a reserved slot: accept returned no connection.
func (g *Gate) Cancel() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unreserve()
	g.wake()
}

// Release frees a used slot: its connection has ended, or is no longer counted.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unuse()
	g.wake()
}

// SetLimit changes the limit, effective at once: raising it wakes as many waiters as there are new
// slots; lowering it ends no connection. It reports whether more slots are reserved or used than
// the new limit allows: then acceptors that wait in accept should return and Cancel. It does not
// change the limit of a [Shared].
func (g *Gate) SetLimit(limit int) (over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = max(limit, 0)
	g.wake()
	return g.used+g.reserved > g.limit
}

// GateState is the state of a gate at one instant.
type GateState struct {
	Limit    int // math.MaxInt if there is none
	Used     int // slots with a connection
	Reserved int // slots reserved by acceptors
	Waiting  int // acceptors and pending connections that wait for a slot
	Peak     int // the highest number of used slots so far

	WaitingAcceptors int // those of Waiting that called Reserve

	Over      bool // more slots are reserved or used than the limit, or that of a Shared, allows
	Contended bool // pending connections wait for slots that acceptors have reserved, in a Shared those of any gate
}

// State returns the gate's state at one instant.
func (g *Gate) State() GateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state()
}

// state is State with the lock held.
func (g *Gate) state() GateState {
	return GateState{
		Limit: g.limit, Used: g.used, Reserved: g.reserved,
		Waiting: g.confirms.n + g.pending.n + g.reserves.n, WaitingAcceptors: g.reserves.n, Peak: g.peak,
		Over: g.over(), Contended: g.contended(),
	}
}

// Wait returns when ok returns true for the number of used slots. ok is called at once and after
// each change, under the gate's lock: it must be quick and must not use the gate. If ctx ends
// first, its cause is returned.
func (g *Gate) Wait(ctx context.Context, ok func(used int) bool) error {
	g.mu.Lock()
	if ok(g.used) {
		g.mu.Unlock()
		return nil
	}
	w := &watcher{ok: ok, ready: make(chan struct{})}
	if g.watchers == nil {
		g.watchers = make(map[*watcher]struct{})
	}
	g.watchers[w] = struct{}{}
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, waiting := g.watchers[w]; !waiting {
		return nil
	}
	delete(g.watchers, w)
	return context.Cause(ctx)
}

type watcher struct {
	ok    func(used int) bool
	ready chan struct{}
}

// The methods below are called with the lock held.

// hasRoom reports whether the limit of the gate itself allows another slot.
func (g *Gate) belowLimit() bool { return g.used+g.reserved < g.limit }

func (g *Gate) mayReserve() bool {
	return g.belowLimit() && (g.shared == nil || g.shared.used+g.shared.reserved < g.shared.limit)
}

func (g *Gate) mayUse() bool {
	return g.used < g.limit && (g.shared == nil || g.shared.used < g.shared.limit)
}

func (g *Gate) over() bool {
	return g.used+g.reserved > g.limit || g.shared != nil && g.shared.over()
}

// offers returns the number of reservations of acceptors.
func (g *Gate) offers() int { return g.reserved - g.confirms.n }

// contended reports whether an acceptor that cancelled its reservation would help a pending
// connection.
func (g *Gate) contended() bool {
	return !g.pending.empty() && (g.offers() > 0 || g.shared != nil && g.belowLimit() && g.shared.reserved > 0)
}

func (g *Gate) addReserved(n int) {
	g.reserved += n
	if g.shared != nil {
		g.shared.reserved += n
	}
}

func (g *Gate) use() {
	g.used++
	g.peak = max(g.peak, g.used)
	if s := g.shared; s != nil {
		s.used++
		s.peak = max(s.peak, s.used)
	}
	g.watch()
}

func (g *Gate) unuse() {
	if g.used == 0 {
		panic("conns: a slot was released twice")
	}
	g.used--
	if g.shared != nil {
		g.shared.used--
	}
	g.watch()
}

func (g *Gate) unreserve() {
	g.checkReserved()
	g.addReserved(-1)
}

// checkReserved panics unless there is a reservation that no pending connection confirms already.
func (g *Gate) checkReserved() {
	if g.reserved <= g.confirms.n {
		panic("conns: a slot was confirmed or cancelled that was not reserved")
	}
}

// wake gives the free slots to waiters.
func (g *Gate) wake() {
	if g.shared != nil {
		g.shared.wake()
		return
	}
	for g.admitConfirm() {
	}
	for g.grant(&g.pending) {
	}
	for g.grant(&g.reserves) {
	}
}

// admitConfirm confirms the reservation of the oldest pending connection that has one, and reports
// whether it did.
func (g *Gate) admitConfirm() bool {
	if g.confirms.empty() || !g.mayUse() {
		return false
	}
	g.addReserved(-1)
	g.use()
	g.confirms.pop()
	return true
}

// grant reserves a slot for the oldest waiter of q, and reports whether it did.
func (g *Gate) grant(q *queue) bool {
	if q.empty() || !g.mayReserve() {
		return false
	}
	g.addReserved(1)
	q.pop()
	return true
}

func (g *Gate) watch() {
	for w := range g.watchers {
		if w.ok(g.used) {
			delete(g.watchers, w)
			close(w.ready)
		}
	}
}
