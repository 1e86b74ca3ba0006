package ranch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/transport"
)

// socket is a listening socket, which may be reopened.
type socket struct {
	addr       net.Addr
	asked      string        // what was listened on to get addr
	interrupts atomic.Uint64 // how often acceptors were interrupted
	failures   atomic.Int64  // of accept, in a row
	repair     chan struct{} // has room for the acceptor that reopens the socket
	turn       chan struct{} // has room for the acceptor whose turn it is; see awaitTurn

	mu          sync.Mutex // guards the rest
	ln          net.Listener
	opening     int      // how often ln was replaced
	episode     *episode // of failures; nil: accept works
	interrupted bool     // the deadline of ln is in the past
	closed      bool     // by this package
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
	for range opts.NumListenSockets {
		ln, err := openSocket(ctx, t, addr, opts.NumListenSockets > 1, opts.PostListen)
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, &socket{ln: ln, addr: ln.Addr(), asked: addr, repair: make(chan struct{}, 1), turn: make(chan struct{}, 1)})
		addr = engine.Rebind(addr, ln.Addr()) // the others share the port that was chosen
	}
	complete = true
	return sockets, nil
}

// openSocket listens, and calls postListen with the listener before anything is accepted.
func openSocket(ctx context.Context, t transport.Transport, addr string, shared bool, postListen func(net.Listener) error) (net.Listener, error) {
	listen := t.Listen
	if shared {
		s, ok := t.(transport.PortSharer)
		if !ok { // SetOptions may have changed the transport since the check
			return nil, fmt.Errorf("transport %s: several sockets on one port: %w", t.Name(), errors.ErrUnsupported)
		}
		listen = s.ListenShared
	}
	ln, err := listen(ctx, addr)
	if err != nil || postListen == nil {
		return ln, err
	}
	accepted := false
	defer func() {
		if !accepted { // postListen has failed or panicked
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

func (s *socket) listener() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln
}

// errInterrupted says that accept returned because it was interrupted.
var errInterrupted = fmt.Errorf("accept interrupted: %w", os.ErrDeadlineExceeded)

// accept accepts a connection, and cancels the reservation, if there is one, when that fails. It
// also returns which opening of the socket it has tried.
func (s *socket) accept(g *conns.Gate, reserved bool) (nc net.Conn, opening int, err error) {
	accepted := false
	defer func() {
		if !accepted && reserved { // accept has failed, or the listener has panicked
			g.Cancel()
		}
	}()
	try := s.ready(g, reserved)
	nc, err = try.ln.Accept()
	accepted = err == nil
	if err != nil && isTimeout(err) && (try.interrupted || s.interrupts.Load() != try.interrupts) {
		return nil, try.opening, errInterrupted
	}
	return nc, try.opening, err
}

// try is the state of a socket before a call of its accept.
type try struct {
	ln          net.Listener
	opening     int
	interrupts  uint64
	interrupted bool // the deadline is in the past already
}

// needed reports whether acceptors must be interrupted still.
func needed(g conns.GateState, reserved bool) bool { return g.Contended || reserved && g.Over }

// ready returns the listener. It lifts the deadline of an interrupt unless that is still needed:
// while pending connections wait for reserved slots, by all acceptors; while the cap is
// exceeded, by acceptors with a reservation.
func (s *socket) ready(g *conns.Gate, reserved bool) try {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted && !needed(g.State(), reserved) {
		s.interrupted = false
		s.interrupts.Add(1) // an acceptor that still sees the old deadline was interrupted too
		setDeadline(s.ln, time.Time{})
	}
	return try{s.ln, s.opening, s.interrupts.Load(), s.interrupted}
}

// interrupt makes accept return. The deadline stays in the past until ready lifts it: lifted
// before every acceptor has run, it would lose their wake-up in the runtime's poller.
func (s *socket) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	s.interrupts.Add(1)
	setDeadline(s.ln, time.Unix(1, 0))
}

// setDeadline does nothing on listeners without deadlines: a connection that they accept beyond
// the cap waits as a pending one.
func setDeadline(ln net.Listener, t time.Time) {
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(t)
	}
}
