package ranch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// acceptorCheck is a question to all acceptors of a listener: each answers when it begins to
// accept the next connection.
type acceptorCheck struct {
	all chan struct{} // closed when all have answered

	mu      sync.Mutex
	missing map[int]bool // acceptors that have not answered
}

const (
	// checkPeriod is how often a check interrupts acceptors that have not answered: another acceptor
	// may have lifted the deadline before they noticed it.
	checkPeriod = 10 * time.Millisecond
	// checkHold is how long an acceptor that has answered waits for the others. If it accepted at once, it
	// would lift their deadline.
	checkPause = 5 * time.Millisecond
)

// CheckAcceptors asks every acceptor of the running listeners for an answer, and returns nil when
// all have answered. It interrupts acceptors that wait for connections, for a slot or for the
// AcceptRate, and delays accepting by a few milliseconds. If ctx ends first, the error names the
// listeners with acceptors that have not answered: they are stuck in the Accept of a listener, in
// an observer or in a panic that repeats. Acceptors of listeners without a SetDeadline are not
// asked. A service can send its watchdog a sign of life after each success.
func (s *Server) CheckAcceptors(ctx context.Context) error {
	listeners := s.Listeners()
	faults := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() { faults[i] = l.checkAcceptors(ctx) })
	}
	wg.Wait()
	return errors.Join(faults...)
}

func (l *Listener) checkAcceptors(ctx context.Context) error {
	l.mu.Lock()
	a := l.acceptors
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	select { // one check at a time
	case a.checking <- struct{}{}:
		defer func() { <-a.checking }()
	case <-ctx.Done():
		return opErr("check", l.ref, context.Cause(ctx))
	}
	c := a.newCheck()
	if len(c.missing) == 0 {
		return nil
	}
	a.check.Store(c)
	defer a.check.Store(nil)
	again := time.NewTicker(checkPeriod)
	defer again.Stop()
	for {
		a.slotWait.renew(a.ctx)
		for _, s := range a.sockets {
			s.interrupt()
		}
		select {
		case <-c.all:
			return nil
		case <-a.ctx.Done(): // suspended or stopped
			return nil
		case <-ctx.Done():
			return opErr("check", l.ref, c.err(ctx))
		case <-again.C:
		}
	}
}

// newRound returns a round of the acceptors that can be interrupted.
func (a *acceptors) newCheck() *acceptorCheck {
	c := &acceptorCheck{all: make(chan struct{}), missing: make(map[int]bool, a.n)}
	for i := range a.n {
		if _, ok := a.sockets[i%len(a.sockets)].listener().(deadliner); ok {
			c.missing[i] = true
		}
	}
	return c
}

// err returns the error of a check that has ended too early.
func (c *acceptorCheck) err(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for i := range c.missing {
		names = append(names, fmt.Sprint(i))
	}
	slices.Sort(names)
	return fmt.Errorf("acceptors %s have not answered: %w", strings.Join(names, ", "), context.Cause(ctx))
}

// answer is called by acceptor i during a check.
func (a *acceptors) confirmCheck(c *acceptorCheck, i int) {
	c.mu.Lock()
	if c.missing[i] {
		delete(c.missing, i)
		if len(c.missing) == 0 {
			close(c.all)
		}
	}
	c.mu.Unlock()
	hold := time.NewTimer(checkPause)
	defer hold.Stop()
	select {
	case <-c.all:
	case <-hold.C:
	case <-a.ctx.Done():
	}
}
