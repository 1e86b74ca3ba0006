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

// socket is a listening socket and its state over several openings.
type socket struct {
	addr       net.Addr
	requested  string        // the address that addr resulted from
	interrupts atomic.Uint64 // incremented by each interrupt, and when its deadline is removed
	failures   atomic.Int64  // consecutive failures of accept
	repair     chan struct{} // a lock for the acceptor that reopens the socket
	turn       chan struct{} // a lock for the acceptor that waits for the AcceptRate and accepts

	mu          sync.Mutex // guards the rest
	ln          net.Listener
	opening     int      // how often ln was replaced
	episode     *episode // nil: accept does not fail
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
	if opts.NumListenSockets > 1 {
		if addr, err = engine.Probe(ctx, t, addr); err != nil {
			return nil, err
		}
	}
	for range opts.NumListenSockets {
		ln, err := openSocket(ctx, t, addr, opts.NumListenSockets > 1, opts.PostListen)
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, &socket{
			ln: ln, addr: ln.Addr(), requested: addr, repair: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		})
		addr = engine.Rebind(addr, ln.Addr()) // the others share the port that was chosen
	}
	complete = true
	return sockets, nil
}

// openSocket listens, and calls postListen before a connection is accepted.
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

// errInterrupted is the error of accept when an acceptor was interrupted.
var errInterrupted = fmt.Errorf("accept interrupted: %w", os.ErrDeadlineExceeded)

// accept accepts a connection. It also returns which opening of the socket it has tried.
func (s *socket) accept(g *conns.Gate, reserved bool) (nc net.Conn, opening int, err error) {
	try := s.ready(g, reserved)
	nc, err = try.ln.Accept()
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

// ready returns the listener. It removes the deadline of an interrupt unless the acceptor has a
// reservation and the cap is exceeded.
func (s *socket) ready(g *conns.Gate, reserved bool) try {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted && !(reserved && g.State().Over) {
		s.interrupted = false
		s.interrupts.Add(1) // another acceptor may still return because of the old deadline
		setDeadline(s.ln, time.Time{})
	}
	return try{s.ln, s.opening, s.interrupts.Load(), s.interrupted}
}

// interrupt makes accept return, by a deadline in the past, which stays until ready removes it. An
// acceptor that runs only after the removal may continue to wait, because the runtime's poller then
// ignores the wake-up. The result is false for listeners without deadlines.
func (s *socket) interrupt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	s.interrupts.Add(1)
	return setDeadline(s.ln, time.Unix(1, 0))
}

type deadliner interface{ SetDeadline(time.Time) error }

// setDeadline does nothing for listeners without deadlines, and returns false. A connection that is
// accepted from one above the cap becomes pending.
func setDeadline(ln net.Listener, t time.Time) bool {
	d, ok := ln.(deadliner)
	if ok {
		d.SetDeadline(t)
	}
	return ok
}
