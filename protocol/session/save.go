package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	saveDelay  = 50 * time.Millisecond // from a change to the save: with the save itself, well within 100 ms
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// saver is what the flusher and those who wait for it share.
type saver struct {
	running atomic.Bool   // changed under mu
	dirty   atomic.Int64  // sessions in the shards' dirty lists
	urgent  chan struct{} // somebody waits

	mu      sync.Mutex
	next    *batch // for those who wait for what is dirty now
	awaited bool   // somebody waits for next
	closed  bool   // the Store too

	failing bool // the flusher's
}

// batch is one Save, for those who wait for it.
type batch struct {
	done chan struct{}
	err  error // valid when done
}

func (v *saver) init() {
	v.urgent = make(chan struct{}, 1)
	v.next = &batch{done: make(chan struct{})}
}

func (v *saver) close(store Store) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || store == nil {
		return nil
	}
	v.closed = true
	return store.Close()
}

// mark has s, which is locked, saved or, if it has ended, removed.
func (m *Manager[T]) mark(s *Session[T]) {
	if m.opts.Store == nil || s.queued {
		return
	}
	s.queued = true
	sh := m.shard(keyOf(s.id))
	sh.dirtyMu.Lock()
	sh.dirty = append(sh.dirty, s)
	sh.dirtyMu.Unlock()
	m.saver.dirty.Add(1)
	if !m.saver.running.Load() {
		m.saver.mu.Lock()
		m.run()
		m.saver.mu.Unlock()
	}
}

// run starts the flusher, unless it runs. m.saver.mu is held.
func (m *Manager[T]) run() {
	if !m.saver.running.Load() && !m.saver.closed {
		m.saver.running.Store(true)
		m.tasks.Go(m.flush)
	}
}

// flush saves what is dirty until nothing is.
func (m *Manager[T]) flush() {
	v := &m.saver
	timer := time.NewTimer(saveDelay)
	defer timer.Stop()
	for backoff := time.Duration(0); ; {
		select {
		case <-timer.C:
		case <-v.urgent:
		}
		delay := saveDelay
		if m.saveBatch() == nil {
			backoff = 0
		} else {
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
			delay = backoff
		}
		if m.rest(backoff > 0) {
			return
		}
		timer.Reset(delay)
	}
}

// rest reports whether the flusher is to end: nothing is dirty and nobody waits, or it fails while Close
// decides what to do.
func (m *Manager[T]) rest(failed bool) bool {
	v := &m.saver
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.awaited {
		return false
	}
	v.running.Store(false) // first: who marks in between sees it, or is seen
	if v.dirty.Load() > 0 && !(failed && m.closed.Load()) {
		v.running.Store(true)
		return false
	}
	return true
}

// saveBatch saves what is dirty in one step.
func (m *Manager[T]) saveBatch() error {
	v := &m.saver
	v.mu.Lock()
	b := v.next // taken before the dirty are: who waits for it has marked before
	v.next, v.awaited = &batch{done: make(chan struct{})}, false
	v.mu.Unlock()

	var all []*Session[T]
	for i := range m.shards {
		sh := &m.shards[i]
		sh.dirtyMu.Lock()
		all = append(all, sh.dirty...)
		sh.dirty = nil
		sh.dirtyMu.Unlock()
	}
	v.dirty.Add(-int64(len(all)))
	b.err = m.save(all)
	close(b.done)
	return b.err
}

func (m *Manager[T]) save(all []*Session[T]) error {
	var put []Record
	var remove []string
	for _, s := range all {
		s.mu.Lock()
		s.queued, s.saving = false, true
		if s.phase == ended {
			remove = append(remove, s.id)
		} else if r, err := s.record(); err != nil {
			defer m.fault(fmt.Errorf("state of a session: %w", err)) // without the lock
		} else {
			put = append(put, r)
		}
		s.mu.Unlock()
	}
	var err error
	if len(put)+len(remove) > 0 {
		err = m.opts.Store.Save(put, remove)
	}
	for _, s := range all {
		s.mu.Lock()
		s.saving = false
		if err != nil {
			m.mark(s)
		}
		s.mu.Unlock()
	}
	if err != nil {
		m.errs.Add(1)
		if !m.saver.failing {
			m.tell(fmt.Errorf("saving sessions, to be tried again: %w", err))
		}
	}
	m.saver.failing = err != nil
	return err
}

// marshal is Marshal, whose panic is an error of this session only.
func (m *Manager[T]) marshal(state *T) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Marshal: %v", p)
		}
	}()
	return m.opts.Marshal(state)
}

// unmarshal is Unmarshal, whose panic is an error of this session only.
func (m *Manager[T]) unmarshal(b []byte, state *T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in Unmarshal: %v", p)
		}
	}()
	return m.opts.Unmarshal(b, state)
}

// hurry has the flusher save at once, if it runs.
func (m *Manager[T]) hurry() {
	select {
	case m.saver.urgent <- struct{}{}:
	default:
	}
}

// flushed returns when what is dirty now is saved, or could not be.
func (m *Manager[T]) flushed(ctx context.Context) error {
	v := &m.saver
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	b := v.next
	v.awaited = true
	m.run()
	v.mu.Unlock()
	m.hurry()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// saved is flushed for s, whose state may be one that cannot be marshalled.
func (m *Manager[T]) saved(ctx context.Context, s *Session[T]) error {
	if err := m.flushed(ctx); err != nil {
		return fmt.Errorf("saving the session: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused {
		if _, err := s.record(); err != nil {
			return fmt.Errorf("state of the session: %w", err)
		}
		m.mark(s) // it can now
	}
	return nil
}

// persist puts s, which is new, into the Store.
func (m *Manager[T]) persist(ctx context.Context, s *Session[T]) error {
	if m.opts.Store == nil {
		return nil
	}
	s.mu.Lock()
	m.mark(s)
	s.mu.Unlock()
	return m.saved(ctx, s)
}
