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
	// maxHeld is how many connections may be in hand without a slot, waiting for one or being
	// told that there is none. The rest is refused without a word.
	maxHeld = 1024
	// lastWordTime is what a protocol has to tell a client why it is refused.
	lastWordTime = time.Second
)

// errRefusing wakes parked acceptors: from now on who comes is accepted.
var errRefusing = errors.New("acceptors do not park any more")

// parking is where acceptors wait for a slot. It is left when the listener begins to refuse.
type parking struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// reset sends away who is parked.
func (p *parking) reset(parent context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel(errRefusing)
	}
	p.ctx, p.cancel = context.WithCancelCause(parent)
}

func (p *parking) context() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx
}

// errStuckRefuse is part of the error of a stop.
var errStuckRefuse = errors.New("a protocol's Refuse ignores that its connection is closed")

// awaitHeld waits, in a stop, for the goroutines besides acceptors and connections. Those with
// a connection in hand come back at once, unless a last word does not.
func (l *Listener) awaitHeld() error {
	gone := make(chan struct{})
	go func() {
		l.held.Wait()
		close(gone)
	}()
	limit := time.NewTimer(lastWordTime + conns.StuckGrace)
	defer limit.Stop()
	select {
	case <-gone:
		return nil
	case <-limit.C:
		return errStuckRefuse
	}
}

// setRefusing changes what happens at the cap, also for acceptors that are parked.
func (l *Listener) setRefusing(after time.Duration) {
	l.refuseAfter.Store(int64(after))
	l.state.Lock()
	a := l.acceptors
	l.state.Unlock()
	if after != 0 && a != nil {
		a.parking.reset(a.ctx)
	}
}

// hold keeps a connection in hand for which there was no slot: because the cap was lowered in
// the moment in which it was accepted, or because who comes at the cap is refused.
func (l *Listener) hold(t transport.Transport, nc net.Conn, reserved bool) {
	defer l.held.Done()
	n := l.holding.Add(1)
	defer l.holding.Add(-1)
	err := l.awaitSlot(n, reserved)
	sv := l.serving.Load()
	switch {
	case err == nil:
		l.sup.Start(sv.base, t, nc, sv.p)
	case l.life.Err() != nil:
		l.sup.Refuse(t, nc)
	default:
		ctx, cancel := context.WithTimeout(l.life, lastWordTime)
		if n > maxHeld {
			cancel()
		}
		defer cancel()
		l.sup.RefuseAtCap(ctx, t, nc, sv.p)
	}
}

// awaitSlot takes a slot for the n-th connection in hand, or says why there is none.
func (l *Listener) awaitSlot(n int64, reserved bool) error {
	ctx := l.life
	if d := time.Duration(l.refuseAfter.Load()); d != 0 {
		if n > maxHeld {
			d = -1
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, max(d, 0), conns.ErrAtCap)
		defer cancel()
	}
	if !reserved {
		l.callBackMeanwhile()
		if err := l.gate.ReserveFirst(ctx); err != nil {
			return err
		}
	}
	return l.gate.Confirm(ctx)
}

// callBackMeanwhile has slots that acceptors hold where nobody comes given to those in hand,
// as long as there are any. One goroutine does that for all.
func (l *Listener) callBackMeanwhile() {
	if !l.calling.CompareAndSwap(false, true) {
		return
	}
	l.held.Go(func() {
		for again := true; again; {
			for l.holding.Load() > 0 && sleep(l.life, turnTime) {
				if g := l.gate.State(); g.Reserved > 0 && g.Waiting > 0 {
					l.callBack()
				}
			}
			l.calling.Store(false)
			again = l.holding.Load() > 0 && l.life.Err() == nil && l.calling.CompareAndSwap(false, true)
		}
	})
}

// callBack has acceptors that hold a slot where nobody comes give it to those in hand. There
// are such only for a moment after the listener was told to refuse, or to park, again.
func (l *Listener) callBack() {
	l.state.Lock()
	a := l.acceptors
	l.state.Unlock()
	if a != nil {
		a.callBack()
	}
}
