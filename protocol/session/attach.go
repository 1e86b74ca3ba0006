package session

import (
	"context"
	"errors"
	"fmt"
	"net"
)

var (
	errTooManySessions = fmt.Errorf("%w sessions", ErrTooMany)
	errTooManyAttempts = fmt.Errorf("%w attempts to resume a session", ErrTooMany)
)

// Create makes a session with a new id and the state init, attached to h, the connection from
// remote. It returns after the session is saved, if it is worth keeping; concurrent calls share a
// Save.
//
// The error wraps ErrTooMany, ErrClosed, the cause of ctx, or an error of Options.NewID, Marshal or
// the Store. No session exists after an error.
func (m *Manager[T]) Create(ctx context.Context, remote net.Addr, h Holder, init T) (*Session[T], error) {
	if h == nil {
		return nil, errors.New("session: Create: the holder is nil")
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if !m.reserve() {
		m.refused.Add(1)
		return nil, errTooManySessions
	}
	for newID := m.opts.NewID; ; newID = randomID {
		s, err := m.create(ctx, remote, h, init, newID)
		if err != errIDTaken {
			return s, err
		}
	}
}

// errIDTaken says that a session of another node has the id.
var errIDTaken = errors.New("the session id is in use")

// create makes a session, for which there is a reservation. newID is the first choice for its id.
func (m *Manager[T]) create(ctx context.Context, remote net.Addr, h Holder, init T, newID func(net.Addr) (string, error)) (*Session[T], error) {
	now := m.now()
	e := (&entry[T]{m: m, state: init, holder: h, remote: remote, gen: 1, base: 1, since: now, created: m.wallTime(now).UnixNano()}).init()
	if err := m.insert(e, newID); err != nil {
		m.count.Add(-1)
		return nil, err
	}
	err := m.saveNew(ctx, e)
	e.mu.Lock()
	if e.phase == lost {
		e.mu.Unlock()
		m.count.Add(1) // forget returns the reservation, which is still needed
		m.forget(e)
		return nil, errIDTaken
	}
	if err == nil && e.phase != creating {
		err = ErrClosed
	}
	if err != nil {
		e.phase = ended
		m.markDirty(e) // the Store may hold it although Save failed
		e.mu.Unlock()
		m.forget(e)
		return nil, err
	}
	e.phase = active
	m.attached.Add(1)
	m.created.Add(1)
	e.mu.Unlock()
	return &Session[T]{e: e, gen: 1}, nil
}

// reserve counts a new session if there are fewer than Max.
func (m *Manager[T]) reserve() bool {
	if m.opts.Max < 0 {
		m.count.Add(1)
		return true
	}
	for swept := false; ; {
		n := m.count.Load()
		switch {
		case n < int64(m.opts.Max):
			if m.count.CompareAndSwap(n, n+1) {
				return true
			}
		case swept:
			if !m.opts.Evict || !m.evict() {
				return false
			}
		default:
			swept = true
			m.removeExpired() // the sweeper runs with a delay
		}
	}
}

// idTries is the number of calls of NewID before a random id is used.
const idTries = 4

// insert gives e an id that no other session has, and stores e under it.
func (m *Manager[T]) insert(e *entry[T], newID func(net.Addr) (string, error)) error {
	for try := 0; ; try++ {
		if try >= idTries {
			newID = randomID
		}
		id, err := newID(e.remote)
		if err == nil {
			err = checkID(id)
		}
		if err != nil {
			return fmt.Errorf("new session id: %w", err)
		}
		e.id = id
		if inserted, err := m.insertAs(e, keyOf(id)); inserted || err != nil {
			return err
		}
	}
}

func (m *Manager[T]) insertAs(e *entry[T], k key) (inserted bool, err error) {
	sh := m.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.closed.Load() { // checked under the lock: Close sets it before it collects the sessions
		return false, ErrClosed
	}
	if sh.entries[k] != nil {
		return false, nil
	}
	sh.entries[k] = e
	return true, nil
}

// Attach attaches h, the connection from remote, to the session with the id, and revokes the
// previous holder. It delivers the kept output to h before it returns; an error of h is not an
// error of Attach. With a [NodeStore], a session of another node is taken over; one of this node is
// attached without waiting for the store, and h is revoked if a save then shows that another node
// has taken it over.
//
// The error is ErrUnknown, ErrClosed, the cause of ctx, or wraps ErrTooMany or ErrUnavailable.
// After a few errors ErrUnknown every attempt from the address of remote, even with a valid id, is
// refused for a time that doubles with each further one. A nil remote is not limited.
func (m *Manager[T]) Attach(ctx context.Context, id string, remote net.Addr, h Holder) (*Session[T], error) {
	if h == nil {
		return nil, errors.New("session: Attach: the holder is nil")
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if m.closed.Load() {
		return nil, ErrClosed
	}
	if remote != nil {
		if _, ok := m.attempts.Allow(remote); !ok {
			m.refused.Add(1)
			return nil, errTooManyAttempts
		}
	}
	s, err := m.attachTo(ctx, id, remote, h)
	if errors.Is(err, ErrUnknown) {
		m.refused.Add(1)
		if remote != nil {
			// A success does not reset the count: a client with a session of its own could
			// otherwise guess other ids without a limit.
			m.attempts.Fail(remote)
		}
	}
	return s, err
}

// attachTo attaches h to the session with the id, wherever it is.
func (m *Manager[T]) attachTo(ctx context.Context, id string, remote net.Addr, h Holder) (*Session[T], error) {
	for {
		e, err := m.acquire(ctx, id)
		if err != nil {
			return nil, err
		}
		s, err := e.attach(remote, h)
		if !errors.Is(err, ErrStale) {
			return s, err
		}
		if m.nodes == nil {
			return nil, ErrUnknown // the successor has it
		}
		// Another node has taken it over at this moment, so that it has to be taken back.
		if err := sleep(ctx, retryDelay); err != nil {
			return nil, err
		}
	}
}

// acquire returns the session with the id after another process or node has given it up; nil is an
// unknown session.
func (m *Manager[T]) acquire(ctx context.Context, id string) (*entry[T], error) {
	if m.nodes != nil {
		return m.nodes.acquire(ctx, id)
	}
	e := m.find(id)
	m.claim(ctx, e)
	return e, nil
}

// attach attaches h. A nil e is an unknown session.
func (e *entry[T]) attach(remote net.Addr, h Holder) (*Session[T], error) {
	if e == nil {
		return nil, ErrUnknown
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.checkPhase(); err != nil {
		return nil, err
	}
	if e.overdue() {
		return nil, ErrUnknown
	}
	m, before := e.m, e.holder
	if before == nil {
		m.detached.remove(e) // before since changes: the list is ordered by it
		m.attached.Add(1)
	} else {
		m.takenOver.Add(1)
		m.notify(func() { before.Revoked(remote, ErrStale) })
	}
	m.resumed.Add(1)
	e.gen++
	e.elsewhere = false
	e.holder, e.remote, e.since, e.deliveryFailed = h, remote, m.now(), false
	if e.taken {
		e.taken = false
	} else {
		m.markDirty(e)
		if m.nodes != nil {
			m.requestFlush() // so that this node soon learns if another one has the session
		}
	}
	if e.backlog != nil {
		if e.backlog.deliver(h) == nil {
			e.backlog = nil
		} else {
			e.deliveryFailed = true
		}
	}
	return &Session[T]{e: e, gen: e.gen}, nil
}
