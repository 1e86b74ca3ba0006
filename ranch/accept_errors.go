package ranch

import (
	"errors"
	"net"
	"os"
	"time"

	"goranch/transport"
)

// What an error of accept calls for.
type remedy int

const (
	retry  remedy = iota // the fault of one peer: go on at once
	rest                 // the system is short of something: wait, warn once
	reopen               // the socket is gone: open it again
)

const (
	restTime     = 100 * time.Millisecond // as in Ranch
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second

	// patience is how many peers in a row may fail before it is taken for a fault of
	// the socket: each failed peer is a connection gone, so a storm of them ends, while a
	// broken socket would spin.
	patience = 1000
)

// remedyFor sorts errors of accept. Whatever is unknown counts as a shortage: it is
// reported and tried again, for no error may end a listener silently.
func remedyFor(err error) remedy {
	switch {
	case errors.Is(err, net.ErrClosed):
		return reopen
	case isPeerFault(err):
		return retry
	}
	return rest
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// survive does what an error of accept calls for, and reports whether to go on. opening
// is the one that failed: acceptors wait on it together, and all of them see it end.
func (a *acceptors) survive(s *socket, opening int, err error) bool {
	if a.ctx.Err() != nil {
		return false
	}
	if err == errRecalled {
		return true
	}
	a.l.acceptErrors.Add(1)
	r := remedyFor(err)
	if r == reopen && s.replaced(opening) {
		return true // by another acceptor
	}
	n := s.failures.Add(1)
	if r == retry && n < patience {
		return true
	}
	if !s.troubled.Swap(true) {
		s.since.Store(time.Now().UnixNano())
		a.l.emit(Event{Kind: AcceptFailed, Addr: s.addr, Err: err})
	}
	if r == reopen {
		return a.reopen(s, opening)
	}
	return a.pause(restTime)
}

// recovered ends a row of failures, and an episode if they were one.
func (a *acceptors) recovered(s *socket) {
	s.failures.Store(0)
	if s.troubled.Swap(false) {
		a.l.emit(Event{Kind: AcceptRecovered, Addr: s.addr, Duration: time.Since(time.Unix(0, s.since.Load()))})
	}
}

// reopen listens again on a socket's address until it succeeds or the acceptors are to
// stop. Of several acceptors one does it, and the others wait for it.
func (a *acceptors) reopen(s *socket, opening int) bool {
	select {
	case s.repair <- struct{}{}:
		defer func() { <-s.repair }()
	case <-a.ctx.Done():
		return false
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		opened, err := a.replace(s, opening)
		if opened {
			a.l.emit(Event{Kind: SocketReopened, Addr: s.addr})
		}
		if err == nil {
			return true
		}
		if !a.pause(pause) {
			return false
		}
	}
}

func (s *socket) replaced(opening int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opening != opening
}

// replace opens a new socket in the place of that opening, unless another acceptor did.
func (a *acceptors) replace(s *socket, opening int) (opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opening != opening {
		return false, nil
	}
	ctx := a.ctx
	if len(a.sockets) > 1 {
		ctx = transport.WithReusePort(ctx)
	}
	ln, err := openSocket(ctx, a.t, transport.AddrString(s.addr), a.postListen)
	if err != nil {
		return false, err
	}
	s.ln, s.recalled = ln, false
	s.opening++
	s.failures.Store(0)
	s.troubled.Store(false)
	return true, nil
}
