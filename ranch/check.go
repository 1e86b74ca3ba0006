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

// acceptorCheck is a check of all acceptors of a listener: each confirms when it begins to
// accept the next connection.
type acceptorCheck struct {
	all chan struct{} // closed when all have confirmed

	mu      sync.Mutex
	missing map[int]bool // acceptors that have not confirmed
}

const (
	// checkPeriod is how often a check interrupts acceptors that have not confirmed: another
	// acceptor may have removed the deadline before it took effect for them.
	checkPeriod = 10 * time.Millisecond
	// checkPause is how long an acceptor that has confirmed waits for the others. If it accepted at
	// once, it would remove their deadline.
	checkPause = 5 * time.Millisecond
)

// CheckAcceptors checks that every acceptor of the running listeners is able to accept, and returns
// nil when all have confirmed that. It interrupts acceptors that wait for connections, for a slot
// or for the AcceptRate, and delays accepting by a few milliseconds. If ctx ends first, the error
// names the listeners with acceptors that have not confirmed: they are blocked in the Accept of a
// listener or in an observer, or panic repeatedly. Acceptors of listeners without a SetDeadline are
// not checked. A service can notify its watchdog after each success.
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
	retry := time.NewTicker(checkPeriod)
	defer retry.Stop()
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
		case <-retry.C:
		}
	}
}

// newCheck returns a check of the acceptors that can be interrupted.
func (a *acceptors) newCheck() *acceptorCheck {
	c := &acceptorCheck{all: make(chan struct{}), missing: make(map[int]bool, a.n)}
	for i := range a.n {
		if _, ok := a.sockets[i%len(a.sockets)].listener().(deadliner); ok {
			c.missing[i] = true
		}
	}
	return c
}

// err returns the error of a check whose ctx has ended first.
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

// confirmCheck is called by acceptor i during a check, before it accepts.
func (a *acceptors) confirmCheck(c *acceptorCheck, i int) {
	c.mu.Lock()
	if c.missing[i] {
		delete(c.missing, i)
		if len(c.missing) == 0 {
			close(c.all)
		}
	}
	c.mu.Unlock()
	pause := time.NewTimer(checkPause)
	defer pause.Stop()
	select {
	case <-c.all:
	case <-pause.C:
	case <-a.ctx.Done():
	}
}
