package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SharedStore is a Store that another process has opened before or after this one, while both have
// connections: during an upgrade the connections of the old process stay with it, and a client that
// reconnects reaches the new one. The sessions move with the clients: the new process claims a
// session that the old one still has when a client presents its id. Package ranch/upgrade provides
// one.
type SharedStore interface {
	Store
	// Share is called once, by New, before Each.
	Share(Sharer)
	// Elsewhere reports whether the other process may have sessions that the Store contains as
	// attached.
	Elsewhere() bool
	// Claim makes the other process give up a session: its connection there loses it, and what has
	// changed is imported before Claim returns. Attach calls it, and proceeds with what it has
	// after an error.
	Claim(ctx context.Context, id string) error
}

// Sharer is a [Manager] as a [SharedStore] uses it. Its methods may be called from any goroutine.
type Sharer interface {
	// Import stores what the other process has saved: put and remove are those of its Save.
	// Sessions that were attached here in the meantime are not changed. It returns when this is in
	// the Store.
	Import(ctx context.Context, put []Record, remove []string) error
	// Release gives up a session for the other process: the attached connection loses it, and it is
	// saved and forgotten. It does nothing for an unknown session.
	Release(ctx context.Context, id string) error
	// Orphaned says that the other process has ended: the sessions that it had are detached.
	Orphaned()
}

// sharer is a Manager as a Sharer.
type sharer[T any] struct{ m *Manager[T] }

// claimTimeout limits how long Attach waits for the other process.
const claimTimeout = 2 * time.Second

// share makes m known to its store.
func (m *Manager[T]) share() (elsewhere bool) {
	s, ok := m.opts.Store.(SharedStore)
	if !ok {
		return false
	}
	m.shared = s
	s.Share(sharer[T]{m})
	return s.Elsewhere()
}

// claim gets e from the other process if that has it. e may be nil.
func (m *Manager[T]) claim(ctx context.Context, e *entry[T]) {
	if m.shared == nil || e == nil {
		return
	}
	e.mu.Lock()
	elsewhere := e.elsewhere
	e.mu.Unlock()
	if !elsewhere {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := m.shared.Claim(ctx, e.id); err != nil {
		m.storeError(fmt.Errorf("a session that another process has: %w", err))
	}
}

// Release implements [Sharer].
func (s sharer[T]) Release(ctx context.Context, id string) error {
	e := s.m.find(id)
	if e == nil {
		return nil
	}
	s.m.claim(ctx, e) // there may be a third process
	return s.m.release(ctx, e)
}

// release gives up e for another process or node: it is saved and forgotten. After an error of the
// Store, it is saved later; with a NodeStore it is forgotten then.
func (m *Manager[T]) release(ctx context.Context, e *entry[T]) error {
	e.mu.Lock()
	if e.phase != active { // Close, or the end of the session, may not have saved it yet
		e.mu.Unlock()
		return errorOf(e.id, m.flush(ctx))
	}
	h := e.holder
	if h != nil {
		e.clearHolder()
	} else {
		m.detached.remove(e)
	}
	e.phase, e.elsewhere = released, false
	m.markDirty(e)
	e.mu.Unlock()
	m.moved.Add(1)
	if h != nil {
		m.notify(func() { h.Revoked(nil, ErrStale) })
	}
	err := m.waitSaved(ctx, e)
	if m.nodes == nil {
		m.forget(e)
	} // otherwise, save and Lost forget it
	if m.opts.OnEnd != nil {
		m.opts.OnEnd(&e.unbound)
	}
	return err
}

// Import implements [Sharer].
func (s sharer[T]) Import(ctx context.Context, put []Record, remove []string) error {
	m := s.m
	if m.closed.Load() {
		return ErrClosed
	}
	var faults []error
	for i := range put {
		e, err := m.importRecord(&put[i])
		if e != nil {
			m.enforceLimits(e)
		}
		if err != nil {
			m.storeError(fmt.Errorf("import a session: %w", err))
			faults = append(faults, err)
		}
	}
	for _, id := range remove {
		if e := m.find(id); e != nil && m.endIf(e, func() bool { return e.elsewhere }) {
			m.ended.Add(1)
			m.remove(e)
		}
	}
	return errors.Join(append(faults, m.flush(ctx))...)
}

// importRecord adds or changes one session, and returns it; nil if it was not changed.
func (m *Manager[T]) importRecord(r *Record) (*entry[T], error) {
	if err := checkID(r.ID); err != nil {
		return nil, err
	}
	var state T
	if err := m.unmarshal(r.State, &state); err != nil {
		return nil, err
	}
	e := m.find(r.ID)
	if e == nil {
		e = (&entry[T]{m: m, id: r.ID, phase: active, stored: true, created: r.Created.UnixNano(), since: m.now()}).init()
		e.mu.Lock()
		defer e.mu.Unlock()
		if inserted, err := m.insertAs(e, keyOf(r.ID)); !inserted || err != nil {
			return nil, err // a concurrent import has inserted it, or the manager is closed
		}
		m.count.Add(1)
	} else {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.phase != active || e.holder != nil || r.Generation < e.gen {
			return nil, nil // it was attached or ended here since
		}
	}
	m.detached.remove(e)
	e.state, e.gen, e.elsewhere = state, r.Generation, r.Attached
	if !e.elsewhere {
		e.since = m.now()
		m.detached.push(e)
	}
	m.markDirty(e)
	return e, nil
}

// Orphaned implements [Sharer].
func (s sharer[T]) Orphaned() {
	m := s.m
	var entries []*entry[T]
	for i := range m.shards {
		entries = m.shards[i].appendAll(entries)
	}
	for _, e := range entries {
		e.mu.Lock()
		was := e.elsewhere && e.phase == active
		e.elsewhere = false
		if was && e.holder == nil {
			e.since = m.now()
			m.detached.push(e)
			m.markDirty(e)
		}
		e.mu.Unlock()
		if was {
			m.enforceLimits(e)
		}
	}
}
