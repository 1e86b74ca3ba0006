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
	frameAt    atomic.Int64 // when the last frame has arrived, in the wheel's time
	limit      atomic.Int64 // the read timeout in force, a time.Duration; 0: none
	once       bool         // it holds for the next frame only; under Peer.turn
	standing   time.Duration

	mu   sync.Mutex
	gone bool // nothing is set any more
}

// startTimers sets those that the options ask for. p.turn is held.
func (p *Peer) startTimers() {
	_, ticks := p.h.(Ticker)
	if (p.e.Tick == 0 || !ticks) && p.e.ReadTimeout == 0 {
		return
	}
	t := p.makeTimers()
	if ticks && p.e.Tick > 0 {
		p.e.wheel.set(&t.tick, p.e.Tick)
	}
	if d := p.e.ReadTimeout; d > 0 {
		t.standing = d
		t.limit.Store(int64(d))
		p.e.wheel.set(&t.read, d)
		t.frameAt.Store(p.e.wheel.now.Load())
	}
}

func (p *Peer) makeTimers() *timers {
	t := &timers{}
	t.tick.fire = func(now int64) {
		t.again(p.e.wheel, &t.tick, now+p.e.wheel.units(p.e.Tick)-1)
		p.due(tickDue)
	}
	t.read.fire = func(now int64) {
		if at, limited := t.deadline(p.e.wheel); limited && at > now { // frames have come meanwhile
			t.again(p.e.wheel, &t.read, at)
		} else if limited {
			t.again(p.e.wheel, &t.read, now+p.e.wheel.units(time.Duration(t.limit.Load())))
			p.due(timeoutDue)
		}
	}
	p.timers = t
	return t
}

// deadline returns when the read timeout passes.
func (t *timers) deadline(w *wheel) (at int64, limited bool) {
	d := time.Duration(t.limit.Load())
	return t.frameAt.Load() + w.units(d), d > 0
}

// again sets a timer that has fired, unless the connection has ended.
func (t *timers) again(w *wheel, one *timer, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		w.setAt(one, at)
	}
}

// frameArrived starts the read timeout again.
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
	t := p.timers
	if t == nil {
		t = p.makeTimers()
	}
	d := max(a.timeout, 0)
	if t.once = !a.lasting; a.lasting {
		t.standing = d
	}
	p.limitReads(d)
}

func (p *Peer) limitReads(d time.Duration) {
	t, w := p.timers, p.e.wheel
	t.limit.Store(int64(d))
	if d == 0 {
		w.cancel(&t.read)
		return
	}
	w.set(&t.read, d)
	t.frameAt.Store(w.now.Load())
}

// timeout is what becomes of a read timeout. p.turn is held.
func (p *Peer) timeout(h Handler) Action {
	t := p.timers
	at, limited := t.deadline(p.e.wheel)
	if !limited || at > p.e.wheel.now.Load() {
		return Action{} // a frame has come in the last moment
	}
	d := time.Duration(t.limit.Load())
	t.frameAt.Store(p.e.wheel.now.Load())
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
