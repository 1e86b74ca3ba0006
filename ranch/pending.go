package ranch

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"goranch/conns"
	"goranch/transport"
)

const (
	// maxPending is how many accepted connections may wait for a slot, or be sent a rejection
	// message. Others are refused at once, without a message.
	maxPending = 1024
	// rejectTime is how long a protocol may take to send a rejection message.
	rejectTime = time.Second
)

// errRefusing wakes acceptors that wait for a slot: connections are accepted without one from now on.
var errRefusing = errors.New("acceptors no longer wait for slots")

// slotWait is the context in which acceptors wait for slots. It ends when the listener begins to
// refuse connections.
type slotWait struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// restart ends the wait of all acceptors.
func (w *slotWait) restart(parent context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(errRefusing)
	}
	w.ctx, w.cancel = context.WithCancelCause(parent)
}

func (w *slotWait) context() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx
}

// setRefuseAfter changes what happens at the cap, also for acceptors that wait for a slot.
func (l *Listener) setRefuseAfter(d time.Duration) {
	l.refuseAfter.Store(int64(d))
	l.mu.Lock()
	a := l.acceptors
	l.mu.Unlock()
	if d != 0 && a != nil {
		a.slotWait.restart(a.ctx)
	}
}

// startPending starts or refuses a pending connection: one that was accepted without a slot,
// because the listener refuses connections at the cap, or because the cap was lowered at
// the moment of accept.
func (l *Listener) startPending(t transport.Transport, nc net.Conn, reserved bool) {
	defer l.background.Done()
	n := l.pending.Add(1)
	defer l.pending.Add(-1)
	err := l.awaitSlot(n, reserved)
	target := l.target.Load()
	switch {
	case err == nil:
		l.sup.Start(target.base, t, nc, target.protocol)
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

// awaitSlot takes a slot for the n-th pending connection, or returns why there is none. Slots that
// acceptors have reserved are handed over: they are interrupted, and cancel.
func (l *Listener) awaitSlot(n int64, reserved bool) error {
	ctx := l.ctx
	if d := time.Duration(l.refuseAfter.Load()); d != 0 {
		if n > maxPending {
			d = -1
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, max(d, 0), conns.RefusedAtCap)
		defer cancel()
	}
	if !reserved {
		interrupt := func() { l.interruptAccept(func() bool { return l.gate.State().Contended }) }
		if err := l.gate.ReservePending(ctx, interrupt); err != nil {
			return err
		}
	}
	return l.gate.Confirm(ctx)
}
