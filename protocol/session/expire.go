package session

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"goranch/internal/remoteip"
)

const (
	// fixedSize is the memory of a session without its state and output, in bytes.
	fixedSize = 512
	// briefTime is how long a session has to be attached in order not to be evicted among the
	// first.
	briefTime = time.Minute
	// classes is the number of eviction classes: one for sessions that are not worth keeping, and
	// two for each of four priorities.
	classes = 9
	// maxFresh is how many sessions that are not worth keeping are kept.
	maxFresh = 1000
)

// detachedList holds the detached sessions: for each eviction class a list, and for each source
// address another one, the session detached longest first. Because all sessions have the same TTL,
// the first of a class expires first.
type detachedList[T any] struct {
	mu       sync.Mutex
	classes  [classes]chain[T]
	fresh    int // in the lowest class
	peers    map[netip.Addr]*peerSessions[T]
	bytes    int
	emptied  chan struct{}
	sweeping bool
	closed   bool
}

// peerSessions are the detached sessions of one source address.
type peerSessions[T any] struct {
	chain[T]
	key      netip.Addr
	n, bytes int
}

func (l *detachedList[T]) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// push adds e and starts the sweeper if it is not running. e.mu is held, or no handle exists yet.
// The caller calls enforceLimits afterwards, without the lock.
func (l *detachedList[T]) push(e *entry[T]) {
	size, class := e.bytes(), e.evictionClass()
	l.mu.Lock()
	defer l.mu.Unlock()
	e.class, e.listed, e.size = class, true, int32(min(size, math.MaxInt32))
	l.classes[class].push(e, ofClass)
	l.bytes += int(e.size)
	if class == 0 {
		l.fresh++
	}
	l.addToPeer(e)
	if !l.sweeping && !l.closed && e.m.opts.TTL > 0 {
		l.sweeping = true
		e.m.tasks.Go(e.m.runSweeper)
	}
}

// evictionClass returns the class of e; the lowest is evicted first. e.mu is held.
func (e *entry[T]) evictionClass() uint8 {
	if !e.worthKeeping() {
		return 0
	}
	p := 0
	if e.m.opts.Priority != nil {
		p = min(max(e.m.opts.Priority(&e.state), 0), classes/2-1)
	}
	if e.brief {
		return uint8(2*p + 1)
	}
	return uint8(2*p + 2)
}

// addToPeer adds e to the sessions of its source address. l.mu is held.
func (l *detachedList[T]) addToPeer(e *entry[T]) {
	key := remoteip.Key(e.remote)
	if !key.IsValid() {
		return
	}
	if l.peers == nil {
		l.peers = map[netip.Addr]*peerSessions[T]{}
	}
	p := l.peers[key]
	if p == nil {
		p = &peerSessions[T]{key: key}
		l.peers[key] = p
	}
	e.peer = p
	p.push(e, ofPeer)
	p.n++
	p.bytes += int(e.size)
}

// resize records that e takes another number of bytes, if it is listed. e.mu is held.
func (l *detachedList[T]) resize(e *entry[T], size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !e.listed {
		return
	}
	old := e.size
	e.size = int32(min(size, math.MaxInt32))
	l.bytes += int(e.size - old)
	if e.peer != nil {
		e.peer.bytes += int(e.size - old)
	}
}

// remove removes e if it is listed.
func (l *detachedList[T]) remove(e *entry[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(e)
	if l.oldest() == nil {
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
	l.classes[e.class].remove(e, ofClass)
	l.bytes -= int(e.size)
	if e.class == 0 {
		l.fresh--
	}
	l.removeFromPeer(e)
	e.listed, e.size = false, 0
}

func (l *detachedList[T]) removeFromPeer(e *entry[T]) {
	p := e.peer
	if p == nil {
		return
	}
	p.remove(e, ofPeer)
	p.bytes -= int(e.size)
	if p.n--; p.n == 0 {
		delete(l.peers, p.key)
	}
	e.peer = nil
}

// oldest returns the session that was detached longest; nil if there is none. l.mu is held.
func (l *detachedList[T]) oldest() (oldest *entry[T]) {
	for i := range l.classes {
		if e := l.classes[i].first; e != nil && (oldest == nil || e.since < oldest.since) {
			oldest = e
		}
	}
	return oldest
}

// takeDue removes and returns the sessions detached at or before the time.
func (l *detachedList[T]) takeDue(until time.Duration) []*entry[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []*entry[T]
	for i := range l.classes {
		for e := l.classes[i].first; e != nil && e.since <= until; e = l.classes[i].first {
			l.unlink(e)
			due = append(due, e)
		}
	}
	return due
}

// takeFirst removes and returns the session to be evicted first; nil if none is detached.
func (l *detachedList[T]) takeFirst() *entry[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeFirstLocked()
}

func (l *detachedList[T]) takeFirstLocked() *entry[T] {
	for i := range l.classes {
		if e := l.classes[i].first; e != nil {
			l.unlink(e)
			return e
		}
	}
	return nil
}

// takeExcess removes and returns a session that exceeds the limits: those of the source address of
// e, or those of all. It returns nil if none does.
func (l *detachedList[T]) takeExcess(e *entry[T]) *entry[T] {
	o := &e.m.opts
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := e.peer; p != nil && (o.MaxPerAddress > 0 && p.n > o.MaxPerAddress || o.MaxBytesPerAddress > 0 && p.bytes > o.MaxBytesPerAddress) {
		first := p.first
		l.unlink(first)
		return first
	}
	if l.fresh > maxFresh || o.MaxBytes > 0 && l.bytes > o.MaxBytes {
		return l.takeFirstLocked()
	}
	return nil
}

// firstSince returns when the oldest session was detached. If there is none it returns false, and
// the sweeper must return: the next push starts another one.
func (l *detachedList[T]) firstSince() (since time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.oldest()
	if e == nil {
		l.sweeping = false
		return 0, false
	}
	return e.since, true
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

// enforceLimits evicts sessions until the limits of detached sessions hold again, after e was
// detached or has grown. No lock is held.
func (m *Manager[T]) enforceLimits(e *entry[T]) {
	for {
		excess := m.detached.takeExcess(e)
		if excess == nil {
			return
		}
		if m.endIf(excess, func() bool { return excess.holder == nil }) {
			m.evicted.Add(1)
			m.remove(excess)
		}
	}
}

// evict ends the session that is to be evicted first. It returns false if none is detached.
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
