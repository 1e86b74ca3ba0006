package protocol

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// timers are those of one connection.
type timers struct {
	tick, read timer
	frameAt    atomic.Int64 // the arrival of the last frame, in units of the wheel

	// The read timeout after the next frame, under Peer.callMu.
	once     bool          // limit is for the next frame only
	standing time.Duration // the limit afterwards

	// mu guards what follows, and setting the timers. It is locked before wheel.mu.
	mu      sync.Mutex
	limit   time.Duration // the current read timeout; 0 for none
	ticking bool
	nextAt  time.Duration // when the next tick is due, on the clock of the wheel, exactly
	stopped bool
}

// startTimers sets the timers that the options ask for. p.callMu is held.
func (p *Peer) startTimers() {
	p.startTicks()
	if d := p.hp.ReadTimeout; d > 0 {
		t := p.needTimers()
		t.standing = d
		p.setReadLimit(d)
	}
}

// startTicks starts the ticks if the handler has HandleTick. p.callMu is held.
func (p *Peer) startTicks() {
	if _, ticks := p.h.(ticker); !ticks || p.hp.Tick == 0 {
		return
	}
	t, w := p.needTimers(), p.hp.wheel
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ticking {
		t.ticking = true
		t.nextAt = time.Duration(w.set(&t.tick, p.hp.Tick)-w.units(p.hp.Tick))*w.res + p.hp.Tick
	}
}

func (p *Peer) needTimers() *timers {
	if p.timers != nil {
		return p.timers
	}
	t := &timers{}
	t.tick.fire = func(now int64) {
		t.tickAgain(p.hp.wheel, p.hp.Tick, now)
		p.postEvent(tickDue)
	}
	t.read.fire = func(now int64) {
		if t.readAgain(p.hp.wheel, now) {
			p.postEvent(timeoutDue)
		}
	}
	p.timers = t
	return t
}

// tickAgain sets the next tick one period after this one was due, so that rounding errors do not
// accumulate. Missed ticks are skipped.
func (t *timers) tickAgain(w *wheel, period time.Duration, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	if t.nextAt += period; t.nextAt < time.Duration(now)*w.res {
		t.nextAt = time.Duration(now)*w.res + period
	}
	w.setAt(&t.tick, int64(t.nextAt/w.res)+1)
}

// readAgain sets the timer of the read timeout again, and reports whether the timeout has expired.
func (t *timers) readAgain(w *wheel, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || t.limit == 0 {
		return false
	}
	if at := t.frameAt.Load() + w.units(t.limit); at > now { // a frame has arrived since the timer was set
		w.setAt(&t.read, at)
		return false
	}
	w.setAt(&t.read, now+w.units(t.limit))
	return true
}

// frameArrived restarts the read timeout. It only stores the time, which the timer compares
// when it fires.
//
//go:noinline
func (p *Peer) frameArrived() {
	t := p.timers
	t.frameAt.Store(p.hp.wheel.now.Load())
	if t.once {
		t.once = false
		p.setReadLimit(t.standing)
	}
}

// restartReadTimeout restarts the read timeout, which does not run while frames are not read.
func (p *Peer) restartReadTimeout() {
	p.callMu.Lock()
	defer p.callMu.Unlock()
	if t := p.timers; t != nil {
		t.frameAt.Store(p.hp.wheel.now.Load())
	}
}

// setTimeout changes the read timeout as a asks. p.callMu is held.
func (p *Peer) setTimeout(a Action) {
	t := p.needTimers()
	d := max(a.timeout, 0)
	if t.once = a.do&lasting == 0; a.do&lasting != 0 {
		t.standing = d
	}
	p.setReadLimit(d)
}

func (p *Peer) setReadLimit(d time.Duration) {
	t, w := p.timers, p.hp.wheel
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit = d; d == 0 {
		w.cancel(&t.read)
		return
	}
	t.frameAt.Store(w.set(&t.read, d) - w.units(d))
}

// timeout is the callback for an expired read timeout. p.callMu is held.
func (p *Peer) timeout(h Handler) Action {
	t, w := p.timers, p.hp.wheel
	t.mu.Lock()
	d := t.limit
	t.mu.Unlock()
	if d == 0 || t.frameAt.Load()+w.units(d) > w.now.Load() {
		return Action{} // a frame has arrived since the timer fired
	}
	if _, waits, _ := p.out.eng.Throttled(); waits {
		t.frameAt.Store(w.now.Load())
		return Action{} // data that has arrived waits for the limit of bytes per second
	}
	t.frameAt.Store(w.now.Load())
	if p.paused.Load() {
		return Action{}
	}
	if h, ok := h.(timeouter); ok {
		return h.HandleTimeout(p)
	}
	return Fail(fmt.Errorf("no frame within %v: %w", d, os.ErrDeadlineExceeded))
}

// stopTimers cancels the timers when the connection has ended.
func (p *Peer) stopTimers() {
	t := p.timers
	if t == nil {
		return
	}
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	p.hp.wheel.cancel(&t.tick)
	p.hp.wheel.cancel(&t.read)
}
