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
	calmTime     = time.Second            // without a failure: an episode is over
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
	if n := s.failures.Add(1); r == retry && n < patience {
		return true
	}
	e, begins := s.fail(opening, r)
	if e == nil {
		return true // another acceptor has opened the socket again
	}
	if begins {
		a.l.emit(Event{Kind: AcceptFailed, Addr: s.addr, Err: err})
	}
	if r == reopen {
		return a.reopen(s, opening)
	}
	if begins {
		a.wg.Go(func() { a.watch(s, e) })
	}
	return a.pause(restTime)
}

// episode is a time of failures that is reported once. It ends when the socket is opened
// again, or when accept has not failed for calmTime. That it succeeds does not end it:
// while descriptors are short, each connection that goes lets another in.
type episode struct{ first, last time.Time }

// fail notes a failure of that opening, unless it has been replaced meanwhile.
func (s *socket) fail(opening int, r remedy) (e *episode, begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == reopen && s.opening != opening {
		return nil, false
	}
	begins = s.episode == nil
	if begins || r == reopen { // one that calm does not end
		s.episode = &episode{first: time.Now()}
	}
	s.episode.last = time.Now()
	return s.episode, begins
}

// watch ends an episode when accept has been calm, unless it ends in another way.
func (a *acceptors) watch(s *socket, e *episode) {
	left := calmTime
	for left > 0 && a.pause(left) {
		left = s.calm(e)
	}
	if left == 0 {
		a.l.emit(Event{Kind: AcceptRecovered, Addr: s.addr, Duration: e.last.Sub(e.first) + restTime})
	}
}

// calm returns how long it takes until e is over; 0 if it ends now, less if another has
// taken its place.
func (s *socket) calm(e *episode) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.episode != e {
		return -1
	}
	if left := calmTime - time.Since(e.last); left > 0 {
		return left
	}
	s.episode = nil
	return 0
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
	ln, err := openSocket(ctx, a.t, transport.AddrAgain(s.asked, s.addr), a.postListen)
	if err != nil {
		return false, err
	}
	s.ln, s.recalled = ln, false
	s.opening++
	s.failures.Store(0)
	s.episode = nil
	return true, nil
}
