package protocol

import (
	"context"
	"errors"

	"goranch/internal/engine"
)

// Wait returns when everything is written. It returns the error with which sending has ended, if it
// has, or the cause of ctx if ctx ends first.
func (o *Outbox) Wait(ctx context.Context) error {
	o.mu.Lock()
	high := 0
	if o.corked != nil && len(*o.corked) > 0 && o.err == nil { // Wait is called by a callback
		high = o.writeCorked()
	}
	if o.q == nil {
		defer o.mu.Unlock()
		return o.err
	}
	empty := o.q.awaitEmpty()
	o.mu.Unlock()
	if high > 0 {
		o.opts.OnHigh(o, high)
	}
	select {
	case <-empty:
		return o.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WaitBelow returns when fewer than n of the bytes that wait at the time of the call still wait.
// Bytes that are sent meanwhile do not prolong it, so that it also returns if the queue always
// holds as many. The errors are those of Wait, and [ErrEnded] if the connection ends by
// [Peer.Close].
func (o *Outbox) WaitBelow(ctx context.Context, n int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.q
	if q == nil {
		return o.err
	}
	for enough := q.removed() + q.size() - n; o.q == q && q.removed() <= enough; {
		if o.ending {
			return ErrEnded
		}
		space := q.awaitSpace()
		o.mu.Unlock()
		select {
		case <-space:
			o.mu.Lock()
		case <-ctx.Done():
			o.mu.Lock()
			return context.Cause(ctx)
		}
	}
	return o.err
}

// end makes WaitBelow return.
func (o *Outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending = true; o.q != nil {
		o.q.wakeSenders()
	}
}

// readSize returns the most that one read takes, in bytes. The frames that were read together keep
// their buffer while awaitUnpaused waits between them, which should take no more than the queue.
func readSize(pauseAt int) int {
	if pauseAt >= engine.ReadSize {
		return engine.ReadSize
	}
	return min(max(pauseAt/2, 4<<10), 16<<10)
}

// awaitUnpaused waits until fewer than Options.PauseAt bytes wait for the peer. The reader calls it
// outside of callbacks. If the reader is the lead, which must not wait, the result is errPaused.
//
//go:noinline
func (p *Peer) awaitUnpaused() error {
	if p.out.Queued() < p.hp.PauseAt {
		return nil
	}
	if p.lead {
		return errPaused
	}
	p.paused.Store(true)
	err := p.out.WaitBelow(p.ctx, p.hp.PauseAt)
	p.restartReadTimeout()
	p.paused.Store(false)
	if errors.Is(err, ErrEnded) {
		return errStop
	}
	return err
}
