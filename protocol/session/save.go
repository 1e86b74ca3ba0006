package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	saveDelay  = 50 * time.Millisecond // from a change to its Save; together they stay below 100 ms
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// saver is the state of the flusher, the goroutine that saves dirty sessions.
type saver[T any] struct {
	running  atomic.Bool   // written with mu held
	dirty    atomic.Int64  // sessions in the dirty lists of the shards
	flushNow chan struct{} // ends the save delay

	closing sync.Mutex // held while the Store is closed; locked before mu
	mu      sync.Mutex
	next    *batch // the batch that will contain the sessions that are dirty now
	awaited bool   // a caller waits for next
	closed  bool   // the Store is closed

	// The following fields are used by the flusher only.
	failing bool        // sessions could not be saved, which was reported
	refused []*entry[T] // by a NodeStore that has saved others; they are saved again at retryAt
	retryAt time.Time
	backoff time.Duration // before retryAt
}

// batch is one Save. Callers wait for it to be done.
type batch struct {
	done chan struct{}
	err  error // valid after done is closed
}

func (v *saver[T]) init() {
	v.flushNow = make(chan struct{}, 1)
	v.next = &batch{done: make(chan struct{})}
}

// close closes the Store. mu is not held meanwhile, because the Close of a NodeStore waits for
// calls of Node.Release, which lock it.
func (v *saver[T]) close(store Store) error {
	v.closing.Lock()
	defer v.closing.Unlock()
	v.mu.Lock()
	before := v.closed
	v.closed = true
	v.mu.Unlock()
	if before || store == nil {
		return nil
	}
	return store.Close()
}

// markDirty schedules e to be saved or, if it has ended, removed from the Store. e.mu is held.
func (m *Manager[T]) markDirty(e *entry[T]) {
	if m.opts.Store == nil || e.dirty {
		return
	}
	e.dirty = true
	sh := m.shard(keyOf(e.id))
	sh.dirtyMu.Lock()
	sh.dirty = append(sh.dirty, e)
	sh.dirtyMu.Unlock()
	m.saver.dirty.Add(1)
	if !m.saver.running.Load() {
		m.saver.mu.Lock()
		m.startFlusher()
		m.saver.mu.Unlock()
	}
}

// startFlusher starts the flusher if it is not running. m.saver.mu is held.
func (m *Manager[T]) startFlusher() {
	if !m.saver.running.Load() && !m.saver.closed {
		m.saver.running.Store(true)
		m.tasks.Go(m.runFlusher)
	}
}

// runFlusher saves dirty sessions until there are none.
func (m *Manager[T]) runFlusher() {
	v := &m.saver
	timer := time.NewTimer(saveDelay)
	defer timer.Stop()
	for backoff := time.Duration(0); ; {
		select {
		case <-timer.C:
		case <-v.flushNow:
		}
		delay := saveDelay
		err := m.saveBatch()
		if err == nil || len(v.refused) > 0 { // other sessions can be saved
			backoff = 0
		} else {
			backoff = nextBackoff(backoff)
			delay = backoff
		}
		if m.stopFlusher(err != nil) {
			return
		}
		timer.Reset(delay)
	}
}

func nextBackoff(last time.Duration) time.Duration {
	return min(max(2*last, minBackoff), maxBackoff)
}

// stopFlusher reports whether the flusher must return: nothing is dirty and no caller waits, or the
// Store fails and Close decides whether to try again.
func (m *Manager[T]) stopFlusher(failed bool) bool {
	v := &m.saver
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.awaited {
		return false
	}
	// running is cleared before dirty is read. A concurrent markDirty increments dirty before it
	// reads running, so it either starts a flusher or is counted here.
	v.running.Store(false)
	if (v.dirty.Load() > 0 || len(v.refused) > 0) && !(failed && m.closed.Load()) {
		v.running.Store(true)
		return false
	}
	return true
}

// saveBatch saves all dirty sessions in one step.
func (m *Manager[T]) saveBatch() error {
	v := &m.saver
	v.mu.Lock()
	b := v.next // before the dirty lists are read: its waiters have marked their sessions before
	v.next, v.awaited = &batch{done: make(chan struct{})}, false
	v.mu.Unlock()
	if len(v.refused) > 0 && (m.closed.Load() || !time.Now().Before(v.retryAt)) {
		m.retryRefused()
	}

	var entries []*entry[T]
	for i := range m.shards {
		sh := &m.shards[i]
		sh.dirtyMu.Lock()
		entries = append(entries, sh.dirty...)
		sh.dirty = nil
		sh.dirtyMu.Unlock()
	}
	v.dirty.Add(-int64(len(entries)))
	b.err = m.save(entries)
	close(b.done)
	return b.err
}

func (m *Manager[T]) save(entries []*entry[T]) error {
	var put []Record
	var remove []string
	for _, e := range entries {
		e.mu.Lock()
		e.dirty, e.saving = false, true
		if e.phase == lost || e.phase == released && m.nodes != nil && m.find(e.id) != e {
			// the record is another node's, or may be
		} else if e.phase == ended {
			if e.stored {
				remove = append(remove, e.id)
			}
		} else if !e.stored && !e.worthKeeping() {
			// nothing to save yet
		} else if r, err := e.record(); err != nil {
			defer m.storeError(fmt.Errorf("marshal a session: %w", err)) // after e is unlocked
		} else {
			put = append(put, r)
			e.stored = true
		}
		e.mu.Unlock()
	}
	var err error
	if len(put)+len(remove) > 0 {
		err = m.opts.Store.Save(put, remove)
	}
	var some *SaveError
	errors.As(err, &some)
	for _, e := range entries {
		e.mu.Lock()
		e.saving = false
		if some != nil && some.Refused[e.id] != nil {
			m.refuse(e)
		} else if err != nil && some == nil {
			m.markDirty(e)
		} else {
			m.saved(e)
		}
		e.mu.Unlock()
	}
	if err != nil {
		m.errs.Add(1)
		if !m.saver.failing {
			m.report(fmt.Errorf("save sessions (will be retried): %w", err))
		}
	}
	m.saver.failing = err != nil || len(m.saver.refused) > 0
	if len(m.saver.refused) == 0 {
		m.saver.backoff = 0
	}
	return err
}

// saved records that e is in the Store as it was at the begin of the Save. e.mu is held.
func (m *Manager[T]) saved(e *entry[T]) {
	e.refused = false
	if e.dirty { // it was changed, released or ended meanwhile, and the next Save is the one that counts
		return
	}
	if e.phase == ended {
		m.nodes.setEnding(e.id, false)
	} else if e.phase == released && m.nodes != nil {
		// Not before: this node could take the session over again, and e, whose generation may be
		// the higher one, would then be saved over the newer record.
		m.forget(e)
	}
}

// refuse makes e, which the Store has refused, be saved again later. e.mu is held.
func (m *Manager[T]) refuse(e *entry[T]) {
	v := &m.saver
	if len(v.refused) == 0 {
		v.backoff = nextBackoff(v.backoff)
		v.retryAt = time.Now().Add(v.backoff)
	}
	if !e.refused {
		e.refused = true
		v.refused = append(v.refused, e)
	}
}

// retryRefused schedules refused sessions to be saved.
func (m *Manager[T]) retryRefused() {
	entries := m.saver.refused
	m.saver.refused = nil
	for _, e := range entries {
		e.mu.Lock()
		if e.refused { // not saved since, after another change
			e.refused = false
			m.markDirty(e)
		}
		e.mu.Unlock()
	}
}

// marshal calls Marshal and returns its panic as an error.
func (m *Manager[T]) marshal(state *T) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Marshal: %v", p)
		}
	}()
	return m.opts.Marshal(state)
}

// unmarshal calls Unmarshal and returns its panic as an error.
func (m *Manager[T]) unmarshal(b []byte, state *T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Unmarshal: %v", p)
		}
	}()
	return m.opts.Unmarshal(b, state)
}

// requestFlush ends the save delay of the flusher.
func (m *Manager[T]) requestFlush() {
	select {
	case m.saver.flushNow <- struct{}{}:
	default:
	}
}

// flush saves the sessions that are dirty now, and returns the result of that Save.
func (m *Manager[T]) flush(ctx context.Context) error {
	v := &m.saver
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	b := v.next
	v.awaited = true
	m.startFlusher()
	v.mu.Unlock()
	m.requestFlush()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waitSaved saves e, which is dirty, and returns the error of the Store or of Marshal for e.
func (m *Manager[T]) waitSaved(ctx context.Context, e *entry[T]) error {
	if err := errorOf(e.id, m.flush(ctx)); err != nil {
		return fmt.Errorf("save the session: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == lost {
		return ErrStale
	}
	if e.marshalFailed {
		if _, err := e.record(); err != nil {
			return fmt.Errorf("marshal the session: %w", err)
		}
		m.markDirty(e) // its state has changed, and can be marshalled now
	}
	return nil
}

// saveNew saves a new session, if it is worth keeping already.
func (m *Manager[T]) saveNew(ctx context.Context, e *entry[T]) error {
	if m.opts.Store == nil {
		return nil
	}
	e.mu.Lock()
	keep := e.worthKeeping()
	if keep {
		m.markDirty(e)
	}
	e.mu.Unlock()
	if !keep {
		return nil
	}
	return m.waitSaved(ctx, e)
}
