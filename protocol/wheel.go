package protocol

import (
	"sync"
	"sync/atomic"
	"time"
)

// wheel is a timer wheel for all connections of a protocol: a list of timers for each of the next
// slots, and one goroutine, which exists while timers are set. Setting and cancelling a timer takes
// constant time.
type wheel struct {
	res  time.Duration
	now  atomic.Int64 // the current slot, in units of res since base
	mu   sync.Mutex
	base time.Time

	slots [256]*timer
	count int
	quit  chan struct{} // closed when no timer is left; nil if there is no goroutine
}

// timer is an entry of a wheel. It is a field of the value to which it belongs.
type timer struct {
	fire       func(now int64) // called without a lock; may set the timer again
	at         int64
	set        bool
	prev, next *timer
}

func newWheel(res time.Duration) *wheel { return &wheel{res: res} }

// resolution returns the resolution of a wheel for these options.
func resolution(o Options) time.Duration {
	d := 1600 * time.Millisecond
	for _, t := range []time.Duration{o.Tick, o.ReadTimeout} {
		if t > 0 {
			d = min(d, t)
		}
	}
	return max(d/16, 10*time.Millisecond)
}

// units converts d, and rounds up so that no timer fires early: the current unit has already begun.
func (w *wheel) units(d time.Duration) int64 { return int64((d+w.res-1)/w.res) + 1 }

// start starts the goroutine if necessary, and returns the time. w.mu is held.
func (w *wheel) start() int64 {
	if w.quit == nil {
		w.quit = make(chan struct{})
		if w.base.IsZero() {
			w.base = time.Now()
		}
		w.now.Store(w.clock())
		go w.run(w.quit)
	}
	return w.clock() // w.now is behind while many timers fire
}

// clock returns the time. w.base is set.
func (w *wheel) clock() int64 { return int64(time.Since(w.base) / w.res) }

// set sets t to fire after d, and returns that time. It replaces an earlier setting.
func (w *wheel) set(t *timer, d time.Duration) (at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at = w.start() + w.units(d)
	w.insert(t, at)
	return at
}

// setAt sets t to fire at that time.
func (w *wheel) setAt(t *timer, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
	w.insert(t, at)
}

// insert inserts t. w.mu is held.
func (w *wheel) insert(t *timer, at int64) {
	w.remove(t)
	t.at, t.set = max(at, w.now.Load()+1), true
	head := &w.slots[t.at%int64(len(w.slots))]
	t.prev, t.next = nil, *head
	if t.next != nil {
		t.next.prev = t
	}
	*head = t
	w.count++
}

// cancel removes t. A call of t.fire may be in progress.
func (w *wheel) cancel(t *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(t)
	if w.count == 0 && w.quit != nil {
		close(w.quit)
		w.quit = nil
	}
}

// remove removes t if it is set. w.mu is held.
func (w *wheel) remove(t *timer) {
	if !t.set {
		return
	}
	t.set = false
	w.count--
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.at%int64(len(w.slots))] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// run fires timers until quit is closed.
func (w *wheel) run(quit <-chan struct{}) {
	tick := time.NewTicker(w.res)
	defer tick.Stop()
	var due []*timer
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for end := w.clock(); ; {
			var now int64
			if due, now = w.advance(due[:0], quit, end); now == 0 {
				break
			}
			for _, t := range due {
				t.fire(now)
			}
		}
		clear(due[:cap(due)])
	}
}

// advance moves to the next slot and removes the timers that are due from it. now is 0 if the wheel
// has reached end, or if another goroutine has replaced this one.
func (w *wheel) advance(due []*timer, quit <-chan struct{}, end int64) (_ []*timer, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.quit != quit || w.now.Load() >= end {
		return due, 0
	}
	now = w.now.Add(1)
	for t := w.slots[now%int64(len(w.slots))]; t != nil; {
		next := t.next
		if t.at <= now {
			w.remove(t)
			due = append(due, t)
		}
		t = next
	}
	return due, now
}
