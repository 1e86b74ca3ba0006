package session

import (
	"math/rand/v2"
	"sync"
	"time"
)

// idle is the list of sessions that nobody is attached to, the one that waits longest first. As all
// may wait as long, the first is the first to expire.
type idle[T any] struct {
	mu          sync.Mutex
	first, last *Session[T]
	wake        chan struct{}
	sweeping    bool
	closed      bool
}

func (l *idle[T]) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// push adds s, which is locked or known to nobody.
func (l *idle[T]) push(s *Session[T]) {
	if s.m.opts.TTL < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.waiting, s.prev = true, l.last
	if l.last == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
	if !l.sweeping && !l.closed {
		l.sweeping = true
		s.m.tasks.Go(s.m.sweep)
	}
}

// remove takes s out if it is there.
func (l *idle[T]) remove(s *Session[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(s)
	if l.first == nil {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *idle[T]) unlink(s *Session[T]) {
	if !s.waiting {
		return
	}
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.waiting = nil, nil, false
}

// due takes out those who have waited since then or longer.
func (l *idle[T]) due(then time.Duration) []*Session[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []*Session[T]
	for s := l.first; s != nil && s.since <= then; s = l.first {
		l.unlink(s)
		due = append(due, s)
	}
	return due
}

// head returns since when the first has waited; if there is none, the sweeper is to end.
func (l *idle[T]) head() (since time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.sweeping = false
		return 0, false
	}
	return l.first.since, true
}

// sweep ends sessions that have expired. It runs while there are some that can.
func (m *Manager[T]) sweep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		since, ok := m.idle.head()
		if !ok {
			return
		}
		late := rand.N(min(m.opts.TTL/8, time.Second) + 1) // so that many go at once, and managers not together
		timer.Reset(max(0, since+m.opts.TTL-m.now()) + late)
		select {
		case <-timer.C:
			m.expire()
		case <-m.idle.wake:
		case <-m.quit:
			return
		}
	}
}

// oldest takes out who has waited longest; nil if nobody waits.
func (l *idle[T]) oldest() *Session[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.first
	if s != nil {
		l.unlink(s)
	}
	return s
}

// evict ends the session that nobody has been attached to for the longest time; false: there is none.
func (m *Manager[T]) evict() bool {
	for s := m.idle.oldest(); s != nil; s = m.idle.oldest() {
		s.mu.Lock()
		mine := s.phase == live && s.holder == nil // else somebody was quicker
		if mine {
			s.end()
		}
		s.mu.Unlock()
		if mine {
			m.evicted.Add(1)
			m.over(s)
			return true
		}
	}
	return false
}

// expire ends those whose time has come.
func (m *Manager[T]) expire() {
	if m.opts.TTL < 0 {
		return
	}
	for _, s := range m.idle.due(m.now() - m.opts.TTL) {
		s.mu.Lock()
		mine := s.phase == live && s.overdue() // else somebody has attached, or ended it, in between
		if mine {
			s.end()
		}
		s.mu.Unlock()
		if mine {
			m.expired.Add(1)
			m.over(s)
		}
	}
}
