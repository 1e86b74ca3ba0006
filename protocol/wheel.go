package protocol

import (
	"sync"
	"sync/atomic"
	"time"
)

// wheel fires the timers of all connections of a protocol: one goroutine, which lives while
// there are timers, and a list for each of the next slots. Setting one and letting it go
// costs the same however many there are.
type wheel struct {
	res   time.Duration
	now   atomic.Int64 // in units of res, since base
	mu    sync.Mutex
	base  time.Time
	slots [256]*timer
	count int
	quit  chan struct{} // closed when the last timer goes; nil: no goroutine
}

// timer is one entry of a wheel, part of what it is for.
type timer struct {
	fire       func(now int64) // called with no lock held; may set the timer again
	at         int64
	set        bool
	prev, next *timer
}

func newWheel(res time.Duration) *wheel { return &wheel{res: res} }

// resolution is how exact timers are.
func resolution(o Options) time.Duration {
	d := 1600 * time.Millisecond
	for _, t := range []time.Duration{o.Tick, o.ReadTimeout} {
		if t > 0 {
			d = min(d, t)
		}
	}
	return max(d/16, 10*time.Millisecond)
}

// units rounds up, so that nothing comes early: the present unit has begun already.
func (w *wheel) units(d time.Duration) int64 { return int64((d+w.res-1)/w.res) + 1 }

// start returns the time, having made sure that it goes on. w.mu is held.
func (w *wheel) start() int64 {
	if w.quit == nil {
		w.quit = make(chan struct{})
		if w.base.IsZero() {
			w.base = time.Now()
		}
		w.now.Store(w.clock())
		go w.run(w.quit)
	}
	return w.clock() // now lags behind while much is due
}

// clock returns the time. w.base is set.
func (w *wheel) clock() int64 { return int64(time.Since(w.base) / w.res) }

// set has t fire after d, and not when it was to before. It returns when that is.
func (w *wheel) set(t *timer, d time.Duration) (at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at = w.start() + w.units(d)
	w.put(t, at)
	return at
}

// setAt has t fire at that time.
func (w *wheel) setAt(t *timer, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
	w.put(t, at)
}

// put enters t. w.mu is held.
func (w *wheel) put(t *timer, at int64) {
	w.take(t)
	t.at, t.set = max(at, w.now.Load()+1), true
	head := &w.slots[t.at%int64(len(w.slots))]
	t.prev, t.next = nil, *head
	if t.next != nil {
		t.next.prev = t
	}
	*head = t
	w.count++
}

// cancel takes t out. It may be firing all the same.
func (w *wheel) cancel(t *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(t)
	if w.count == 0 && w.quit != nil {
		close(w.quit)
		w.quit = nil
	}
}

// take takes t out if it is in. w.mu is held.
func (w *wheel) take(t *timer) {
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

// run turns the wheel until it is told to quit.
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
			if due, now = w.turn(due[:0], quit, end); now == 0 {
				break
			}
			for _, t := range due {
				t.fire(now)
			}
		}
		clear(due[:cap(due)])
	}
}

// turn goes on by a slot, as long as that is not beyond end, and takes out what is due in it. now is 0 if
// it did not go on: another goroutine may have taken over.
func (w *wheel) turn(due []*timer, quit <-chan struct{}, end int64) (_ []*timer, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.quit != quit || w.now.Load() >= end {
		return due, 0
	}
	now = w.now.Add(1)
	for t := w.slots[now%int64(len(w.slots))]; t != nil; {
		next := t.next
		if t.at <= now {
			w.take(t)
			due = append(due, t)
		}
		t = next
	}
	return due, now
}
