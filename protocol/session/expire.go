package session

import (
	"math/rand/v2"
	"sync"
	"time"
)

// detachedList is the list of detached sessions, the one detached longest first. Because all
// sessions have the same TTL, the first is the next to expire.
type detachedList[T any] struct {
	mu          sync.Mutex
	first, last *entry[T]
	emptied     chan struct{}
	sweeping    bool
	closed      bool
}

func (l *detachedList[T]) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// push adds e and starts the sweeper if it is not running. e.mu is held, or no handle exists yet.
func (l *detachedList[T]) push(e *entry[T]) {
	if e.m.opts.TTL < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.listed, e.prev = true, l.last
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	if !l.sweeping && !l.closed {
		l.sweeping = true
		e.m.tasks.Go(e.m.runSweeper)
	}
}

// remove removes e if it is listed.
func (l *detachedList[T]) remove(e *entry[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(e)
	if l.first == nil {
		select {
		case l.emptied <- struct{}{}:
		default:
		}
	}
}

func (l *detachedList[T]) unlink(e *entry[T]) {
	if !e.listed {
		return
	}
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next, e.listed = nil, nil, false
}

// takeDue removes and returns the sessions detached at or before the time.
func (l *detachedList[T]) takeDue(until time.Duration) []*entry[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []*entry[T]
	for e := l.first; e != nil && e.since <= until; e = l.first {
		l.unlink(e)
		due = append(due, e)
	}
	return due
}

// takeFirst removes and returns the session detached longest; nil if the list is empty.
func (l *detachedList[T]) takeFirst() *entry[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.first
	if e != nil {
		l.unlink(e)
	}
	return e
}

// firstSince returns when the first session was detached. If the list is empty it returns false,
// and the sweeper must return: the next push starts another one.
func (l *detachedList[T]) firstSince() (since time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.sweeping = false
		return 0, false
	}
	return l.first.since, true
}

// runSweeper ends expired sessions until no session is detached.
func (m *Manager[T]) runSweeper() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		since, ok := m.detached.firstSince()
		if !ok {
			return
		}
		// The random delay batches sessions, and keeps several managers from sweeping together.
		delay := rand.N(min(m.opts.TTL/8, time.Second) + 1)
		timer.Reset(max(0, since+m.opts.TTL-m.now()) + delay)
		select {
		case <-timer.C:
			m.removeExpired()
		case <-m.detached.emptied:
		case <-m.quit:
			return
		}
	}
}

// removeExpired ends the sessions whose TTL has passed.
func (m *Manager[T]) removeExpired() {
	if m.opts.TTL < 0 {
		return
	}
	for _, e := range m.detached.takeDue(m.now() - m.opts.TTL) {
		if m.endIf(e, e.overdue) {
			m.expired.Add(1)
			m.remove(e)
		}
	}
}

// evict ends the session that has been detached longest. It returns false if none is detached.
func (m *Manager[T]) evict() bool {
	for e := m.detached.takeFirst(); e != nil; e = m.detached.takeFirst() {
		if m.endIf(e, func() bool { return e.holder == nil }) {
			m.evicted.Add(1)
			m.remove(e)
			return true
		}
	}
	return false
}

// endIf ends e, which was taken from the list, unless it was attached or ended in between.
func (m *Manager[T]) endIf(e *entry[T], stillDue func() bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != active || !stillDue() {
		return false
	}
	e.end()
	return true
}
