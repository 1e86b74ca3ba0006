package ranch

import (
	"context"
	"net"
	"runtime/pprof"
	"sync"
	"time"

	"goranch/transport"
)

// acceptors are the goroutines that accept, and their sockets, from start or resume to the next
// suspend or stop. They only accept: handshake and protocol run in the goroutine of each
// connection.
type acceptors struct {
	l          *Listener
	t          transport.Transport
	postListen func(net.Listener) error
	n          int
	sockets    []*socket
	ctx        context.Context
	cancel     context.CancelCauseFunc
	wg         sync.WaitGroup
	slotWait   slotWait
}

func newAcceptors(l *Listener, t transport.Transport, opts Options, sockets []*socket) *acceptors {
	a := &acceptors{l: l, t: t, postListen: opts.PostListen, n: opts.NumAcceptors, sockets: sockets}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.slotWait.restart(a.ctx)
	return a
}

func (a *acceptors) start() {
	ctx := a.l.target.Load().base
	for i := range a.n {
		a.wg.Go(func() {
			pprof.SetGoroutineLabels(ctx) // inherited by the goroutines of connections
			a.supervise(i, a.sockets[i%len(a.sockets)])
		})
	}
	if len(a.sockets) > 1 {
		a.wg.Go(a.rotateSlots)
	}
}

// stop closes the sockets and waits until no acceptor runs.
func (a *acceptors) stop(cause error) {
	a.cancel(cause)
	for _, s := range a.sockets {
		s.close()
	}
	a.wg.Wait()
}

// accept is the accept loop.
func (a *acceptors) accept(s *socket) {
	for a.acceptOne(s) {
	}
}

// acceptOne reserves a slot, accepts a connection, and starts it. It reports whether to go on.
func (a *acceptors) acceptOne(s *socket) bool {
	l := a.l
	if l.acceptLimited.Load() {
		if !a.awaitTurn(s) {
			return false
		}
		defer func() { <-s.turn }()
	}
	wait := a.slotWait.context()          // before refuseAfter is read: it ends after that has changed
	reserved := l.refuseAfter.Load() == 0 // else connections are accepted without a slot, and refused if there is none
	if reserved && l.gate.Reserve(wait) != nil {
		return a.ctx.Err() == nil // acceptors no longer wait for slots
	}
	nc, opening, err := s.accept(l.gate, reserved)
	if err != nil {
		return a.handleError(s, opening, err)
	}
	if s.failures.Load() > 0 {
		s.failures.Store(0)
	}
	if !reserved {
		reserved = l.gate.TryReserve()
	}
	if reserved && l.gate.TryConfirm() {
		t := l.target.Load()
		l.sup.Start(t.base, a.t, nc, t.protocol)
		return true
	}
	l.background.Add(1)
	go l.startPending(a.t, nc, reserved)
	return true
}

// awaitTurn waits until the AcceptRate allows one more connection, and takes the turn of the
// socket: one of its acceptors accepts at a time, since tokens that the others would take in
// advance would become a burst.
func (a *acceptors) awaitTurn(s *socket) bool {
	select {
	case s.turn <- struct{}{}:
	case <-a.ctx.Done():
		return false
	}
	if a.l.sup.WaitAccept(a.ctx) != nil {
		<-s.turn
		return false
	}
	return true
}

// rotatePeriod is how long clients of one socket may wait for slots that acceptors of another hold.
const rotatePeriod = 10 * time.Millisecond

// rotateSlots keeps several sockets from starving each other. Just below the cap there are fewer
// slots than sockets: the acceptors that hold them may wait at sockets without clients,
// while clients wait at a socket whose acceptors have no slot. Then all acceptors are
// interrupted, and the slots go to those that have waited longest.
func (a *acceptors) rotateSlots() {
	for a.pause(rotatePeriod) {
		if g := a.l.gate.State(); g.Reserved > 0 && g.Waiting > 0 {
			for _, s := range a.sockets {
				s.interrupt()
			}
		}
	}
}

// interruptAccept makes acceptors that hold reservations return from accept and cancel them, if
// that is needed still.
func (l *Listener) interruptAccept(needed func() bool) {
	l.mu.Lock()
	a := l.acceptors
	l.mu.Unlock()
	if a == nil {
		return
	}
	for _, s := range a.sockets {
		if needed() {
			s.interrupt()
		}
	}
}

// pause waits, and reports whether the acceptors are to go on.
func (a *acceptors) pause(d time.Duration) bool { return sleep(a.ctx, d) }

// sleep waits, and reports whether ctx has not ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
