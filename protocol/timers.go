package protocol

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// timers are those of one connection that has any.
type timers struct {
	tick, read timer
	frameAt    atomic.Int64  // when the last frame has arrived, in the wheel's time
	once       bool          // limit holds for the next frame only; under Peer.turn
	standing   time.Duration // what holds else; under Peer.turn

	mu      sync.Mutex    // guards what follows, and when the timers are set; before wheel.mu
	limit   time.Duration // the read timeout in force; 0: none
	ticking bool
	nextAt  time.Duration // when the next tick is due, in the wheel's time, not rounded to its units
	gone    bool          // nothing is set any more
}

// startTimers sets those that the options ask for. p.turn is held.
func (p *Peer) startTimers() {
	p.startTicks()
	if d := p.e.ReadTimeout; d > 0 {
		t := p.someTimers()
		t.standing = d
		p.limitReads(d)
	}
}

// startTicks begins to tick if the handler wants it. p.turn is held.
func (p *Peer) startTicks() {
	if _, ticks := p.h.(Ticker); !ticks || p.e.Tick == 0 {
		return
	}
	t, w := p.someTimers(), p.e.wheel
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ticking {
		t.ticking = true
		t.nextAt = time.Duration(w.set(&t.tick, p.e.Tick)-w.units(p.e.Tick))*w.res + p.e.Tick
	}
}

func (p *Peer) someTimers() *timers {
	if p.timers != nil {
		return p.timers
	}
	t := &timers{}
	t.tick.fire = func(now int64) {
		t.tickAgain(p.e.wheel, p.e.Tick, now)
		p.due(tickDue)
	}
	t.read.fire = func(now int64) {
		if t.readAgain(p.e.wheel, now) {
			p.due(timeoutDue)
		}
	}
	p.timers = t
	return t
}

// tickAgain sets the next tick, a period after this one was due, so that rounding does not add up.
func (t *timers) tickAgain(w *wheel, period time.Duration, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return
	}
	if t.nextAt += period; t.nextAt < time.Duration(now)*w.res { // missed ones are not made up for
		t.nextAt = time.Duration(now)*w.res + period
	}
	w.setAt(&t.tick, int64(t.nextAt/w.res)+1)
}

// readAgain sets the timer of the read timeout again, and reports whether that has passed.
func (t *timers) readAgain(w *wheel, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || t.limit == 0 { // ended, or taken back meanwhile
		return false
	}
	if at := t.frameAt.Load() + w.units(t.limit); at > now { // frames have come meanwhile
		w.setAt(&t.read, at)
		return false
	}
	w.setAt(&t.read, now+w.units(t.limit))
	return true
}

// frameArrived starts the read timeout again.
//
//go:noinline
func (p *Peer) frameArrived() {
	t := p.timers
	t.frameAt.Store(p.e.wheel.now.Load())
	if t.once {
		t.once = false
		p.limitReads(t.standing)
	}
}

// setTimeout changes the read timeout. p.turn is held.
func (p *Peer) setTimeout(a Action) {
	t := p.someTimers()
	d := max(a.timeout, 0)
	if t.once = a.do&lasting == 0; a.do&lasting != 0 {
		t.standing = d
	}
	p.limitReads(d)
}

func (p *Peer) limitReads(d time.Duration) {
	t, w := p.timers, p.e.wheel
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit = d; d == 0 {
		w.cancel(&t.read)
		return
	}
	t.frameAt.Store(w.set(&t.read, d) - w.units(d))
}

// timeout is what becomes of a read timeout. p.turn is held.
func (p *Peer) timeout(h Handler) Action {
	t, w := p.timers, p.e.wheel
	t.mu.Lock()
	d := t.limit
	t.mu.Unlock()
	if d == 0 || t.frameAt.Load()+w.units(d) > w.now.Load() {
		return Action{} // a frame has come in the last moment
	}
	t.frameAt.Store(w.now.Load())
	if h, ok := h.(Timeouter); ok {
		return h.HandleTimeout(p)
	}
	return Fail(fmt.Errorf("no frame within %v: %w", d, os.ErrDeadlineExceeded))
}

// stopTimers is called when the connection has ended.
func (p *Peer) stopTimers() {
	t := p.timers
	if t == nil {
		return
	}
	t.mu.Lock()
	t.gone = true
	t.mu.Unlock()
	p.e.wheel.cancel(&t.tick)
	p.e.wheel.cancel(&t.read)
}
