package conns

import (
	"context"
	"sync"
	"time"
)

// acceptRate limits how fast connections are accepted. A change of the rate applies to waiting
// acceptors at once, which x/time/rate cannot do: a reservation that is cancelled after a change
// of the limit restores too many tokens.
type acceptRate struct {
	mu      sync.Mutex
	rate    Rate
	full    int64         // see Rate.take
	changed chan struct{} // closed when the rate changes; nil: no acceptor waits
}

func (a *acceptRate) set(r Rate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rate = r
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// take takes a token, or returns how long to wait and a channel that is closed when the rate
// changes.
func (a *acceptRate) take(now int64) (wait time.Duration, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rate.PerSecond <= 0 {
		return 0, nil
	}
	if wait = a.rate.take(&a.full, now); wait > 0 && a.changed == nil {
		a.changed = make(chan struct{})
	}
	return wait, a.changed
}

// wait waits until the rate allows one more connection. now is the clock.
func (a *acceptRate) wait(ctx context.Context, now func() int64) error {
	for {
		wait, changed := a.take(now())
		if wait == 0 {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		t.Stop()
	}
}

// WaitAccept waits until the AcceptRate allows one more connection, and that of the [Shared] of the
// gate. If ctx ends first, it returns the cause. Without an AcceptRate it returns at once.
func (s *Supervisor) WaitAccept(ctx context.Context) error {
	if err := s.acceptRate.wait(ctx, s.now); err != nil || s.cfg.Gate.shared == nil {
		return err
	}
	return s.cfg.Gate.shared.waitAccept(ctx)
}
