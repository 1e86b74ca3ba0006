package ranch

import (
	"context"
	"net"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"goranch/transport"
)

// acceptors are the goroutines that accept, and their sockets, from a start or resume to the next
// suspend or stop. Handshake and protocol run in the goroutine of each connection.
type acceptors struct {
	// Set once.
	l          *Listener
	t          transport.Transport
	postListen func(net.Listener) error
	n          int
	sockets    []*socket

	// Lifetime.
	ctx    context.Context // ends when the acceptors are to stop
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	// Waits and checks.
	slotWait slotWait
	checking chan struct{}                 // a lock for the check that runs
	check    atomic.Pointer[acceptorCheck] // of that check; nil: there is none
}

func newAcceptors(l *Listener, t transport.Transport, opts Options, sockets []*socket) *acceptors {
	a := &acceptors{l: l, t: t, postListen: opts.PostListen, n: opts.NumAcceptors, sockets: sockets, checking: make(chan struct{}, 1)}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.slotWait.renew(a.ctx)
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
	if len(a.sockets) > 1 || a.l.shared != nil {
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
func (a *acceptors) accept(i int, s *socket) {
	for a.acceptOne(s) {
		if c := a.check.Load(); c != nil {
			a.confirmCheck(c, i)
		}
	}
}

// acceptOne reserves a slot, accepts a connection, and starts it. It reports whether to continue.
func (a *acceptors) acceptOne(s *socket) bool {
	l := a.l
	if l.acceptLimited.Load() || l.shared != nil && l.shared.AcceptLimited() {
		if !a.awaitTurn(s) {
			return a.ctx.Err() == nil
		}
		defer func() { <-s.turn }()
	}
	wait := a.slotWait.context()          // before refuseAfter is read, because it ends after refuseAfter has changed
	reserved := l.refuseAfter.Load() == 0 // else connections are accepted without a slot
	if reserved && !l.reserve(wait) {
		return a.ctx.Err() == nil
	}
	nc, opening, reserved, err := a.acceptFrom(s, reserved)
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

// acceptFrom accepts a connection from s. A reservation made for it is cancelled if accept fails,
// and may be taken by a pending connection: kept reports whether it still exists. An acceptor without
// a reservation that was interrupted cancels that of another one: while RefuseAfter changes,
// acceptors with and without one are in accept, and those without may always be the first to
// return.
func (a *acceptors) acceptFrom(s *socket, reserved bool) (nc net.Conn, opening int, kept bool, err error) {
	accepted := false
	defer func() { // also after a panic of the listener
		if kept = (reserved || err == errInterrupted) && a.l.reservations.take(); kept && !accepted {
			a.l.gate.Cancel()
			kept = false
		}
	}()
	nc, opening, err = s.accept(a.l.gate, reserved)
	accepted = err == nil
	return nc, opening, kept, err
}

// awaitTurn takes s.turn and waits until the AcceptRate allows one more connection. It reports
// false if the wait was interrupted. One acceptor of a socket does so at a time: tokens that others
// took in advance would allow a burst.
func (a *acceptors) awaitTurn(s *socket) bool {
	wait := a.slotWait.context()
	select {
	case s.turn <- struct{}{}:
	case <-wait.Done():
		return false
	}
	if a.l.sup.WaitAccept(wait) != nil {
		<-s.turn
		return false
	}
	return true
}

// rotatePeriod is how long clients of one socket may wait for slots that are reserved at another
// socket, of this listener or of another one that shares the limit.
const rotatePeriod = 10 * time.Millisecond

// rotateSlots keeps several sockets from starving each other. Just below the cap there are fewer
// slots than sockets: acceptors with a slot may be in accept at sockets without clients, while
// clients wait at a socket whose acceptors wait for a slot. The kernel reports no event for that,
// so acceptors are interrupted periodically, and the slots go to those that have waited longest.
// The same happens between listeners that share a limit. The reservation of an acceptor that cannot
// be interrupted is cancelled instead, as for a pending connection.
func (a *acceptors) rotateSlots() {
	for a.pause(rotatePeriod) {
		g := a.l.gate.State()
		starves := a.l.gate.Starves()
		if !starves && (len(a.sockets) == 1 || g.Reserved == 0 || g.Waiting == 0) {
			continue
		}
		for _, s := range a.sockets {
			if !s.interrupt() && a.l.yield() && !starves {
				break // the acceptor that has waited longest gets the slot
			}
		}
	}
}

// interruptAccept makes acceptors return from accept and cancel their reservations, while more
// slots are reserved or used than the cap allows.
func (l *Listener) interruptAccept() {
	l.mu.Lock()
	a := l.acceptors
	l.mu.Unlock()
	if a == nil {
		return
	}
	for _, s := range a.sockets {
		if l.gate.State().Over { // unless the cap was raised again
			s.interrupt()
		}
	}
}

// pause waits, and reports whether the acceptors are to continue.
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
