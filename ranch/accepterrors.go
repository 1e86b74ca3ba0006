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
	retry   remedy = iota // a fault of one peer: try again at once
	backOff               // the system lacks a resource: wait, and warn once
	reopen                // other code has closed the socket: open it again
)

const (
	backOffTime  = 100 * time.Millisecond // as in Ranch
	recoveryTime = time.Second            // an episode ends after this time without a failure

	// Pauses between attempts to reopen a socket, each twice as long as the one before.
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second

	// maxRetries is the number of consecutive peer faults after which acceptors back off. Each peer
	// fault removes a connection from the queue, so that a burst of them ends; errors of a broken
	// socket do not end, and the accept loop would spin.
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

// handleError handles an error of accept, and reports whether to continue. opening is the opening
// of the socket that failed: all acceptors of the socket see the failure.
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
	if r == reopen {
		return a.reopen(s, opening, err)
	}
	e, begins := a.failed(s, opening, r, err)
	if begins {
		a.wg.Go(func() { a.awaitRecovery(s, e) })
	}
	return a.pause(backOffTime)
}

// failed records a failure, and reports it if an episode begins. The result is nil if the socket
// was reopened in the meantime.
func (a *acceptors) failed(s *socket, opening int, r remedy, err error) (e *episode, begins bool) {
	if e, begins = s.fail(opening, r); begins {
		a.l.emit(&Event{Kind: AcceptFailed, Addr: s.addr, Err: err})
	}
	return e, begins
}

// episode is a period of failures that is reported once. It ends when the socket is reopened, or
// when accept has not failed for recoveryTime. A successful accept does not end it: while
// descriptors are exhausted, each connection that ends makes one accept succeed.
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

// awaitRecovery ends an episode after recoveryTime without a failure, unless reopen ends it before.
func (a *acceptors) awaitRecovery(s *socket, e *episode) {
	remaining := recoveryTime
	for remaining > 0 && a.pause(remaining) {
		remaining = s.endIfRecovered(e)
	}
	if remaining == 0 {
		a.l.emit(&Event{Kind: AcceptRecovered, Addr: s.addr, Duration: e.last.Sub(e.first) + backOffTime})
	}
}

// endIfRecovered returns the time until e may end, 0 if it has ended e, or a negative time if
// another episode has replaced it.
func (s *socket) endIfRecovered(e *episode) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.episode != e {
		return -1
	}
	if remaining := recoveryTime - time.Since(e.last); remaining > 0 {
		return remaining
	}
	s.episode = nil
	return 0
}

// reopen opens a socket again whose accept has failed with cause, and reports whether to continue.
// One acceptor tries until it succeeds; the others wait for it.
func (a *acceptors) reopen(s *socket, opening int, cause error) bool {
	select {
	case s.repair <- struct{}{}:
		defer func() { <-s.repair }()
	case <-a.ctx.Done():
		return false
	}
	if e, _ := a.failed(s, opening, reopen, cause); e == nil {
		return true
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		opened, err := a.replace(s, opening)
		if opened {
			a.l.emit(&Event{Kind: SocketReopened, Addr: s.addr})
		}
		if err == nil {
			return true
		}
		if !a.pause(pause) {
			return false
		}
	}
}

// replace opens the socket again, unless another acceptor has already replaced that opening.
func (a *acceptors) replace(s *socket, opening int) (opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.opening != opening {
		return false, nil
	}
	ln, err := openSocket(a.ctx, a.t, engine.Rebind(s.requested, s.addr), len(a.sockets) > 1, a.postListen)
	if err != nil {
		return false, err
	}
	s.ln, s.interrupted = ln, false
	s.opening++
	s.failures.Store(0)
	s.episode = nil
	return true, nil
}
