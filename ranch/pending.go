package ranch

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// A pending connection is one that was accepted without a slot: the listener refuses connections
// at the cap, or the cap was lowered at the moment of accept. It waits in a goroutine of its own.

const (
	// maxPending is how many pending connections may wait for a slot, or be sent a rejection
	// message. Others are refused at once, without a message.
	maxPending = 1024
	// rejectTime is how long a protocol may take to send a rejection message.
	rejectTime = time.Second
	// transferTime is how long a connection that is to be refused at once waits for a slot that is
	// neither free nor used at that moment, because another goroutine is about to use or release
	// it.
	transferTime = 100 * time.Millisecond
)

// reservations counts the slots that acceptors have reserved and have no connection for yet. A
// pending connection takes one of them instead of waiting until an acceptor returns from accept,
// which may be never: some listeners cannot be interrupted. An acceptor that finds none left when
// accept returns has no slot.
type reservations struct{ n atomic.Int64 }

func (r *reservations) add() { r.n.Add(1) }

// take reports whether it has taken a reservation.
func (r *reservations) take() bool {
	for n := r.n.Load(); n > 0; n = r.n.Load() {
		if r.n.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// slotWait is the context in which acceptors or pending connections wait for slots, and acceptors
// for the AcceptRate. It ends when RefuseAfter changes, and at a check of the acceptors.
type slotWait struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// errWaitRenewed is the cause with which renew ends a wait. The wait then begins again.
var errWaitRenewed = errors.New("the wait begins again")

// renew ends the waits in progress. Later ones end with parent, or when renew is called again.
func (w *slotWait) renew(parent context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(errWaitRenewed)
	}
	w.ctx, w.cancel = context.WithCancelCause(parent)
}

func (w *slotWait) context() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx
}

// setRefuseAfter changes what happens at the cap, also for acceptors and pending connections that
// wait for a slot. l.optionsMu is held.
func (l *Listener) setRefuseAfter(d time.Duration) {
	if time.Duration(l.refuseAfter.Swap(int64(d))) == d {
		return
	}
	l.pendingWait.renew(l.ctx)
	l.mu.Lock()
	a := l.acceptors
	l.mu.Unlock()
	if a != nil {
		a.slotWait.renew(a.ctx)
	}
}

// reserve reserves a slot for an acceptor, and reports whether it did.
func (l *Listener) reserve(ctx context.Context) bool {
	return l.gate.Reserve(ctx) == nil && l.offer()
}

// offer makes the reservation of an acceptor available to pending connections. A connection that
// began to wait after the gate granted the reservation, and before it was available, has missed it:
// then offer cancels the reservation and reports false, and the gate grants the slot to that
// connection.
func (l *Listener) offer() bool {
	l.reservations.add()
	contended := l.pending.Load() > 0 && l.gate.State().Contended
	return !((contended || l.gate.Wanted()) && l.yield())
}

// yield cancels the reservation of an acceptor, and reports whether there was one.
func (l *Listener) yield() bool {
	if !l.reservations.take() {
		return false
	}
	l.gate.Cancel()
	return true
}

// startPending starts or refuses a pending connection. reserved reports that it has a reservation.
func (l *Listener) startPending(t transport.Transport, nc net.Conn, reserved bool) {
	defer l.background.Done()
	n := l.pending.Add(1)
	defer l.pending.Add(-1)
	accepted := time.Now()
	err := l.awaitSlot(accepted, n > maxPending, reserved)
	target := l.target.Load()
	switch {
	case err == nil:
		l.sup.StartPending(target.base, t, nc, target.protocol, accepted)
	case l.ctx.Err() != nil:
		l.sup.Refuse(l.ctx, conns.Refused, t, nc, target.protocol)
	default:
		ctx, cancel := context.WithTimeout(l.ctx, rejectTime)
		defer cancel()
		if n > maxPending {
			cancel()
		}
		l.sup.Refuse(ctx, conns.RefusedAtCap, t, nc, target.protocol)
	}
}

// awaitSlot takes a slot for a pending connection, or returns why there is none. It follows changes
// of RefuseAfter while it waits.
func (l *Listener) awaitSlot(accepted time.Time, tooMany, reserved bool) error {
	for {
		ctx := l.pendingWait.context() // before refuseAfter is read, because it ends after refuseAfter has changed
		d := time.Duration(l.refuseAfter.Load())
		atOnce, limit := d < 0 || tooMany, accepted.Add(d)
		if atOnce {
			limit = time.Now().Add(transferTime)
		}
		cancel := context.CancelFunc(func() {})
		if atOnce || d != 0 {
			ctx, cancel = context.WithDeadlineCause(ctx, limit, conns.RefusedAtCap)
		}
		err := l.takeSlot(ctx, atOnce, reserved)
		cancel()
		if err != errWaitRenewed {
			return err
		}
		reserved = false // takeSlot has cancelled the reservation
	}
}

// takeSlot takes a slot for a pending connection, within ctx. With atOnce it does not wait until
// connections end.
func (l *Listener) takeSlot(ctx context.Context, atOnce, reserved bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for {
		if !reserved {
			if err := l.reservePending(ctx, cancel, atOnce); err != nil {
				return err
			}
		}
		if atOnce {
			cancel(conns.RefusedAtCap)
		}
		if l.shared == nil {
			return l.gate.Confirm(ctx)
		}
		if l.gate.TryConfirm() {
			return nil
		}
		l.gate.Cancel() // another listener may be able to use the slot
		reserved = false
	}
}

// reservePending reserves a slot for a pending connection. If no slot is free, it cancels
// reservations of acceptors.
func (l *Listener) reservePending(ctx context.Context, cancel context.CancelCauseFunc, atOnce bool) error {
	return l.gate.ReservePending(ctx, func() {
		for l.gate.State().Contended && l.yield() { // the gate grants the slot to the connection that has waited longest
		}
		l.gate.TakeOver()
		if atOnce && !l.gate.State().Contended {
			cancel(conns.RefusedAtCap)
		}
	})
}
