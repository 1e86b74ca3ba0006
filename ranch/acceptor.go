package ranch

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/transport"
)

// acceptors are the goroutines that accept, and the sockets they accept on, from start
// or resume to the next suspend or stop. They do nothing but accept: handshake and
// protocol run in the connection's own goroutine.
type acceptors struct {
	l          *Listener
	t          transport.Transport
	postListen func(net.Listener) error
	n          int
	sockets    []*socket
	ctx        context.Context
	cancel     context.CancelCauseFunc
	wg         sync.WaitGroup
	parking    parking
}

func newAcceptors(l *Listener, t transport.Transport, opts Options, sockets []*socket) *acceptors {
	a := &acceptors{l: l, t: t, postListen: opts.PostListen, n: opts.NumAcceptors, sockets: sockets}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.parking.reset(a.ctx)
	return a
}

func (a *acceptors) start() {
	ctx := a.l.serving.Load().base
	for i := range a.n {
		a.wg.Go(func() {
			pprof.SetGoroutineLabels(ctx) // inherited by the connections' goroutines
			a.supervise(i, a.sockets[i%len(a.sockets)])
		})
	}
	if len(a.sockets) > 1 {
		a.wg.Go(a.takeTurns)
	}
}

// stop closes the sockets and waits until nobody accepts any more.
func (a *acceptors) stop(cause error) {
	a.cancel(cause)
	for _, s := range a.sockets {
		s.close()
	}
	a.wg.Wait()
}

// recall makes acceptors that hold a reservation too many come back from accept.
func (a *acceptors) recall() {
	for _, s := range a.sockets {
		s.recall(a.l.gate)
	}
}

// callBack makes acceptors give back the slots they hold where nobody comes.
func (a *acceptors) callBack() {
	for _, s := range a.sockets {
		s.callBack()
	}
}

// turnTime is how long clients of one socket may wait for slots that are held for another.
const turnTime = 10 * time.Millisecond

// takeTurns keeps several sockets from starving each other. Just below the cap there are
// fewer slots than sockets, and acceptors that hold them may wait where nobody comes,
// while clients wait at a socket whose acceptors are parked. Then all are called back,
// and the slots go to those that have been parked longest.
func (a *acceptors) takeTurns() {
	for a.pause(turnTime) {
		if g := a.l.gate.State(); g.Reserved > 0 && g.Waiting > 0 {
			a.callBack()
		}
	}
}

// Acceptors that panic are started again at once, unless that happened this often
// within this time; then there is a pause before each start.
const (
	restarts      = 5
	restartPeriod = 5 * time.Second
	restartPause  = time.Second
)

// supervise runs acceptor i again when it panics, which only a listener or an observer
// of the user's can make it do.
func (a *acceptors) supervise(i int, s *socket) {
	a.l.emit(Event{Kind: AcceptorStarted, Acceptor: i})
	defer a.l.emit(Event{Kind: AcceptorStopped, Acceptor: i})
	var panics []time.Time
	for {
		err := a.guarded(s)
		if err == nil {
			return
		}
		a.l.emit(Event{Kind: AcceptorPanicked, Acceptor: i, Err: err})
		panics = append(panics, time.Now())
		if len(panics) <= restarts {
			continue
		}
		first := panics[0]
		panics = panics[1:]
		if time.Since(first) < restartPeriod && !a.pause(restartPause) {
			return
		}
	}
}

func (a *acceptors) guarded(s *socket) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &conns.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	a.accept(s)
	return nil
}

// accept is the loop this library is about.
func (a *acceptors) accept(s *socket) {
	for a.next(s) {
	}
}

// next takes a slot, accepts, hands over. It reports whether to go on.
func (a *acceptors) next(s *socket) bool {
	l := a.l
	if l.pace.Limited() {
		if !a.keepPace(s) {
			return false
		}
		defer func() { <-s.turn }()
	}
	parked := a.parking.context()     // first: it ends after refuseAfter has changed
	slot := l.refuseAfter.Load() == 0 // else who comes is accepted, and refused if there is none
	if slot && l.gate.Reserve(parked) != nil {
		return a.ctx.Err() == nil // then there is no more parking
	}
	nc, opening, err := s.accept(l.gate, slot)
	if err != nil {
		return a.survive(s, opening, err)
	}
	if s.failures.Load() > 0 {
		s.failures.Store(0)
	}
	if !slot {
		slot = l.gate.TryReserve()
	}
	if slot && l.gate.TryConfirm() {
		sv := l.serving.Load()
		l.sup.Start(sv.base, a.t, nc, sv.p)
		return true
	}
	l.held.Add(1)
	go l.hold(a.t, nc, slot)
	return true
}

// keepPace waits until the accept rate allows another, and takes the socket's turn: of its
// acceptors one accepts at a time, for what the others would take in advance would come as
// a burst.
func (a *acceptors) keepPace(s *socket) bool {
	select {
	case s.turn <- struct{}{}:
	case <-a.ctx.Done():
		return false
	}
	if a.l.pace.Wait(a.ctx) != nil {
		<-s.turn
		return false
	}
	return true
}

// pause waits, and reports whether the acceptors are still wanted.
func (a *acceptors) pause(d time.Duration) bool {
	return sleep(a.ctx, d)
}

// socket is a listening socket, which may be opened again.
type socket struct {
	addr     net.Addr
	asked    string        // what was listened on to get addr
	recalls  atomic.Uint64 // how often acceptors were called back
	failures atomic.Int64  // of accept, in a row
	repair   chan struct{} // has room for the one acceptor that opens it again
	turn     chan struct{} // has room for the one acceptor that keeps the pace

	mu       sync.Mutex // guards the rest
	ln       net.Listener
	opening  int      // how often ln was replaced
	episode  *episode // of failures; nil: accept works
	recalled bool     // ln's deadline is in the past
	closed   bool     // by us
}

// openSockets opens the listening sockets, all of them or none.
func openSockets(ctx context.Context, t transport.Transport, opts Options, addr string) (sockets []*socket, err error) {
	complete := false
	defer func() {
		if !complete {
			for _, s := range sockets {
				s.ln.Close()
			}
		}
	}()
	if opts.NumListenSockets > 1 {
		ctx = transport.WithReusePort(ctx)
	}
	for range opts.NumListenSockets {
		ln, err := openSocket(ctx, t, addr, opts.PostListen)
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, &socket{ln: ln, addr: ln.Addr(), asked: addr, repair: make(chan struct{}, 1), turn: make(chan struct{}, 1)})
		addr = transport.AddrAgain(addr, ln.Addr()) // the others share the port chosen
	}
	complete = true
	return sockets, nil
}

// openSocket listens, and shows the listener to postListen before anything is accepted.
func openSocket(ctx context.Context, t transport.Transport, addr string, postListen func(net.Listener) error) (net.Listener, error) {
	ln, err := t.Listen(ctx, addr)
	if err != nil || postListen == nil {
		return ln, err
	}
	accepted := false
	defer func() {
		if !accepted { // an error, or a panic of postListen's
			ln.Close()
		}
	}()
	if err := postListen(ln); err != nil {
		return nil, fmt.Errorf("PostListen: %w", err)
	}
	accepted = true
	return ln, nil
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.ln.Close()
}

// errRecalled says that accept was left because the cap was lowered, or for another socket.
var errRecalled = fmt.Errorf("called back: %w", os.ErrDeadlineExceeded)

// accept accepts, and gives the reservation back, if there is one, when that yields no
// connection. It also says which opening of the socket it tried.
func (s *socket) accept(g *conns.Gate, reserved bool) (nc net.Conn, opening int, err error) {
	accepted := false
	defer func() {
		if !accepted && reserved { // an error, or a panic of the listener's
			g.Cancel()
		}
	}()
	try := s.ready(g, reserved)
	nc, err = try.ln.Accept()
	accepted = err == nil
	if err != nil && isTimeout(err) && (try.recalled || s.recalls.Load() != try.recalls) {
		return nil, try.opening, errRecalled
	}
	return nc, try.opening, err
}

// try is what one call of accept begins with.
type try struct {
	ln       net.Listener
	opening  int
	recalls  uint64
	recalled bool // between reservation and accept: the deadline is past already
}

// ready returns the listener, with the deadline of a recall lifted once it has served, or by
// somebody who holds no reservation and so is no concern of the recall.
func (s *socket) ready(g *conns.Gate, reserved bool) try {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recalled && (!reserved || !g.Over()) {
		s.recalled = false
		s.recalls.Add(1) // who sees the old deadline yet was recalled too
		setDeadline(s.ln, time.Time{})
	}
	return try{s.ln, s.opening, s.recalls.Load(), s.recalled}
}

func (s *socket) recall(g *conns.Gate) {
	if g.Over() { // unless the cap was raised again
		s.callBack()
	}
}

// callBack makes those in accept come back. The next to come lifts the deadline.
func (s *socket) callBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recalled = true
	s.recalls.Add(1)
	setDeadline(s.ln, time.Unix(1, 0))
}

// setDeadline does nothing on listeners that have none: then a connection accepted too
// many is held until it may be served.
func setDeadline(ln net.Listener, t time.Time) {
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(t)
	}
}
