package conns

import (
	"context"
	"math"
	"sync"
)

// Unlimited is the limit of a gate that admits everybody.
const Unlimited = math.MaxInt

// Gate holds the cap of a listener: how many connections may live at once, how many
// do, and who waits to accept another. The limit can change at any time.
//
// A slot has three states. It is reserved before accept, by Reserve; in use once there
// is a connection, by Confirm; and given back by Cancel, if accept gave none, or by
// Release. In use never exceeds the limit in force when a connection took its slot, and
// reserved and in use together never exceed it either, so an acceptor with a
// reservation may accept without asking again, unless the limit was lowered meanwhile:
// then Confirm waits, and connections in hand go before all who only wait to accept.
//
// Waiters are served first come, first served, and exactly as many are woken as there
// are free slots. All methods may be called from any goroutine.
type Gate struct {
	mu       sync.Mutex
	limit    int
	used     int
	reserved int
	peak     int
	confirms queue // hold a connection and a reservation
	inHand   queue // hold a connection and no reservation
	reserves queue // wait to accept
	watchers map[*watcher]struct{}
}

// NewGate returns a gate that admits limit connections at once. Zero admits nobody,
// [Unlimited] everybody; a negative limit counts as zero.
func NewGate(limit int) *Gate { return &Gate{limit: max(limit, 0)} }

// Reserve takes a slot for a connection to come, waiting until there is one. It returns
// the cause of ctx if that ends first, and then no slot is taken.
func (g *Gate) Reserve(ctx context.Context) error { return g.reserve(ctx, &g.reserves) }

// ReserveFirst is Reserve for somebody with a connection in hand, who goes before all who
// wait to accept one.
func (g *Gate) ReserveFirst(ctx context.Context) error { return g.reserve(ctx, &g.inHand) }

func (g *Gate) reserve(ctx context.Context, q *queue) error {
	g.mu.Lock()
	if g.mayReserve() { // then nobody waits
		g.reserved++
		g.mu.Unlock()
		return nil
	}
	w := q.push()
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !q.remove(w) { // granted at the same moment
		g.reserved--
		g.wake()
	}
	return context.Cause(ctx)
}

// TryReserve takes a slot if one is free; then nobody waits for it.
func (g *Gate) TryReserve() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mayReserve() {
		return false
	}
	g.reserved++
	return true
}

// Confirm turns a reservation into a slot in use, now that there is a connection. It
// waits only if the limit was lowered since Reserve. When ctx ends first it returns the
// cause, and the reservation is gone.
func (g *Gate) Confirm(ctx context.Context) error {
	if g.TryConfirm() {
		return nil
	}
	g.mu.Lock()
	w := g.confirms.push()
	g.wake() // a slot may have come free in between
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.confirms.remove(w) {
		g.reserved--
	} else { // granted at the same moment
		g.unuse()
	}
	g.wake()
	return context.Cause(ctx)
}

// TryConfirm is Confirm if that need not wait, and does nothing otherwise.
func (g *Gate) TryConfirm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.confirms.empty() || g.used >= g.limit {
		return false
	}
	g.unreserve()
	g.use()
	return true
}

// Cancel gives a reservation back: accept returned no connection.
func (g *Gate) Cancel() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unreserve()
	g.wake()
}

// Release gives back a slot in use: its connection has ended, or counts no longer.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unuse()
	g.wake()
}

// SetLimit changes the limit, effective at once: raising it wakes as many waiters as
// there are new slots, lowering it ends no connection. It reports whether more slots are
// reserved or in use than the new limit allows, which is when acceptors that are
// waiting in accept ought to come back and Cancel.
func (g *Gate) SetLimit(limit int) (over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = max(limit, 0)
	g.wake()
	return g.over()
}

// Over reports whether more slots are reserved or in use than the limit allows.
func (g *Gate) Over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over()
}

// GateState is a gate at one instant.
type GateState struct {
	Limit    int // Unlimited if there is none
	Used     int // slots with a connection
	Reserved int // slots held by acceptors
	Waiting  int // acceptors parked, with or without a connection in hand
	Peak     int // the most that were in use at once
}

// State returns the gate's state at one instant.
func (g *Gate) State() GateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return GateState{
		Limit: g.limit, Used: g.used, Reserved: g.reserved,
		Waiting: g.confirms.n + g.inHand.n + g.reserves.n, Peak: g.peak,
	}
}

// Wait returns when ok holds for the number of slots in use. ok is called at once and
// after each change, under the gate's lock: it must be quick and must not use the gate.
// If ctx ends first, its cause is returned.
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

func (g *Gate) mayReserve() bool { return g.used+g.reserved < g.limit }
func (g *Gate) over() bool       { return g.used+g.reserved > g.limit }

func (g *Gate) use() {
	g.used++
	g.peak = max(g.peak, g.used)
	g.watch()
}

func (g *Gate) unuse() {
	if g.used == 0 {
		panic("conns: a slot was released twice")
	}
	g.used--
	g.watch()
}

func (g *Gate) unreserve() {
	if g.reserved == 0 {
		panic("conns: a slot was confirmed or cancelled that was not reserved")
	}
	g.reserved--
}

// wake hands the free slots to those who wait.
func (g *Gate) wake() {
	for !g.confirms.empty() && g.used < g.limit {
		g.reserved--
		g.use()
		g.confirms.pop()
	}
	for _, q := range []*queue{&g.inHand, &g.reserves} {
		for !q.empty() && g.mayReserve() {
			g.reserved++
			q.pop()
		}
	}
}

func (g *Gate) watch() {
	for w := range g.watchers {
		if w.ok(g.used) {
			delete(g.watchers, w)
			close(w.ready)
		}
	}
}

// waiter is one goroutine parked at the gate.
type waiter struct {
	ready      chan struct{}
	prev, next *waiter
	queued     bool
}

// queue is a list of waiters, oldest first.
type queue struct {
	first, last *waiter
	n           int
}

func (q *queue) empty() bool { return q.n == 0 }

func (q *queue) push() *waiter {
	w := &waiter{ready: make(chan struct{}), prev: q.last, queued: true}
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
	return w
}

// pop wakes the oldest waiter.
func (q *queue) pop() {
	w := q.first
	q.remove(w)
	close(w.ready)
}

// remove takes w out and reports whether it was still in.
func (q *queue) remove(w *waiter) bool {
	if !w.queued {
		return false
	}
	w.queued = false
	q.n--
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	return true
}
