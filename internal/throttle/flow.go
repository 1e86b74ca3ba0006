package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

// Flow is one direction of one connection. At most one goroutine uses it at a time, apart from Wake
// and Waiting, which may be called from any goroutine.
type Flow struct {
	limits    *Limits
	direction Direction
	own       bucket
	timer     *time.Timer

	waiting atomic.Bool
	waits   atomic.Uint32 // number of waits that have begun

	mu   sync.Mutex
	wake chan struct{} // closed by Wake; nil: nothing waits
}

// Init sets the limits and the direction. It is called once.
func (f *Flow) Init(l *Limits, d Direction) { f.limits, f.direction = l, d }

// Owner reports when a transfer must stop waiting. Limit must be safe for use by any goroutine.
type Owner interface {
	// Limit reports whether the transfer is to fail or to return at once; until, if it is not zero,
	// is the time from which on it is to do so.
	Limit() (until time.Time, stopped bool)
}

func (f *Flow) rates() (connection, total int) {
	st := f.limits.load()
	return st.Connection[f.direction], st.Total[f.direction]
}

// MaxPiece returns how many of n bytes the next transfer may have at most: few enough that it does
// not wait long, and that it does not delay other connections long.
func (f *Flow) MaxPiece(n int) int {
	connection, total := f.rates()
	if connection > 0 {
		n = min(n, max(connection/40, 1))
	}
	if total > 0 {
		n = min(n, max(min(total/20, max(total/500, 64)), 1))
	}
	return min(n, largest)
}

// Acquire reserves n bytes and waits until they are allowed. It returns false earlier when o.Limit
// requires that; o.Limit is called again after each Wake. The bytes stay reserved.
func (f *Flow) Acquire(n int, o Owner) bool {
	if n <= 0 {
		return true
	}
	connection, total := f.rates()
	if connection > 0 && !f.wait(&f.own, f.own.reserve(n, connection), o) {
		return false
	}
	if total > 0 {
		b := &f.limits.total[f.direction]
		return f.wait(b, b.reserve(n, total), o)
	}
	return true
}

// Take reserves up to n bytes that are allowed now, and returns their number.
func (f *Flow) Take(n int) int {
	connection, total := f.rates()
	n = f.own.take(n, connection)
	m := f.limits.total[f.direction].take(n, total)
	if m < n && connection > 0 {
		f.own.refund(n - m)
	}
	return m
}

// Refund gives back n bytes of Take that were not transferred.
func (f *Flow) Refund(n int) {
	if n <= 0 {
		return
	}
	connection, total := f.rates()
	if connection > 0 {
		f.own.refund(n)
	}
	if total > 0 {
		f.limits.total[f.direction].refund(n)
	}
}

// wait waits until ticket is allowed by b.
func (f *Flow) wait(b *bucket, ticket float64, o Owner) bool {
	for {
		st := f.limits.load()
		rate, changed := st.Total[f.direction], st.changed
		if b == &f.own {
			rate = st.Connection[f.direction]
		}
		delay := b.delay(ticket, rate)
		if delay <= 0 {
			return true
		}
		if !f.sleep(delay, changed, o) {
			return false
		}
	}
}

// sleep waits for a time, or until the rates change or Wake is called. It returns false, without
// waiting, if o.Limit requires that.
func (f *Flow) sleep(delay time.Duration, changed <-chan struct{}, o Owner) bool {
	wake := f.begin() // before o.Limit: Wake is called after its result has changed
	defer f.end()
	until, stopped := o.Limit()
	if stopped {
		return false
	}
	if !until.IsZero() {
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		delay = min(delay, left)
	}
	if f.timer == nil {
		f.timer = time.NewTimer(delay)
	} else {
		f.timer.Reset(delay)
	}
	select {
	case <-f.timer.C:
	case <-changed:
	case <-wake:
	}
	f.timer.Stop()
	return true
}

func (f *Flow) begin() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	if !f.waiting.Swap(true) {
		f.waits.Add(1)
	}
	return f.wake
}

func (f *Flow) end() { f.waiting.Store(false) }

// Wake makes a waiting Acquire call Limit of its Owner again.
func (f *Flow) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// Waiting reports whether a transfer waits, and returns how many have waited before or wait.
func (f *Flow) Waiting() (now bool, waits uint32) { return f.waiting.Load(), f.waits.Load() }
