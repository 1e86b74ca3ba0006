package ranch

import (
	"errors"
	"net"
	"os"
	"time"

	"goranch/internal/engine"
)

// remedy is what an error of accept requires.
type remedy int

const (
	retry   remedy = iota // the fault of one peer: continue at once
	backOff               // the system lacks a resource: wait, warn once
	reopen                // the socket is gone: open it again
)

const (
	backOffTime  = 100 * time.Millisecond // as in Ranch
	calmTime     = time.Second            // without a failure, after which an episode has ended
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second

	// maxRetries is how many peers in a row may fail before that is taken for a fault of the
	// socket. Each failed peer takes a connection out of the queue, so a burst of them
	// ends by itself, while a broken socket would make the accept loop spin.
	maxRetries = 1000
)

// remedyFor classifies an error of accept. Unknown errors count as a lack of resources: they are
// reported and accept is tried again, because no error may end a listener silently.
func remedyFor(err error) remedy {
	switch {
	case errors.Is(err, net.ErrClosed):
		return reopen
	case isPeerFault(err):
		return retry
	}
	return backOff
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// handleError does what an error of accept requires, and reports whether to go on. opening is the
// opening of the socket that failed: several acceptors wait on it, and all of them see it fail.
func (a *acceptors) handleError(s *socket, opening int, err error) bool {
	if a.ctx.Err() != nil {
		return false
	}
	if err == errInterrupted {
		return true
	}
	a.l.acceptErrors.Add(1)
	r := remedyFor(err)
	if n := s.failures.Add(1); r == retry && n < maxRetries {
		return true
	}
	e, begins := s.fail(opening, r)
	if e == nil {
		return true // another acceptor has reopened the socket
	}
	if begins {
		a.l.emit(Event{Kind: AcceptFailed, Addr: s.addr, Err: err})
	}
	if r == reopen {
		return a.reopen(s, opening)
	}
	if begins {
		a.wg.Go(func() { a.awaitRecovery(s, e) })
	}
	return a.pause(backOffTime)
}

// episode is a period of failures that is reported once. It ends when the socket is reopened, or
// when accept has not failed for calmTime. A successful accept does not end it: while
// descriptors are short, each connection that ends lets another one in.
type episode struct{ first, last time.Time }

// fail records a failure of that opening, unless the socket was reopened in the meantime.
func (s *socket) fail(opening int, r remedy) (e *episode, begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == reopen && s.opening != opening {
		return nil, false
	}
	begins = s.episode == nil
	if begins || r == reopen { // a new episode, which awaitRecovery does not end
		s.episode = &episode{first: time.Now()}
	}
	s.episode.last = time.Now()
	return s.episode, begins
}

// awaitRecovery ends an episode after calmTime without a failure, unless reopen ends it before.
func (a *acceptors) awaitRecovery(s *socket, e *episode) {
	left := calmTime
	for left > 0 && a.pause(left) {
		left = s.endIfCalm(e)
	}
	if left == 0 {
		a.l.emit(Event{Kind: AcceptRecovered, Addr: s.addr, Duration: e.last.Sub(e.first) + backOffTime})
	}
}

// endIfCalm returns the time after which e will have ended; 0 if it ends now, a negative time if
// another episode has replaced it.
func (s *socket) endIfCalm(e *episode) time.Duration {
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

// reopen listens again on the address of a socket, until that succeeds or the acceptors are to
// stop. One acceptor does so; the others wait for it.
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

// replace opens a new socket in the place of that opening, unless another acceptor has done so.
func (a *acceptors) replace(s *socket, opening int) (opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opening != opening {
		return false, nil
	}
	ln, err := openSocket(a.ctx, a.t, engine.Rebind(s.asked, s.addr), len(a.sockets) > 1, a.postListen)
	if err != nil {
		return false, err
	}
	s.ln, s.interrupted = ln, false
	s.opening++
	s.failures.Store(0)
	s.episode = nil
	return true, nil
}
