package session

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/attempts"
)

// shards must be a power of two.
const shards = 64

// Manager holds the sessions with states of type T. Its methods are safe for concurrent use.
//
// Locks are acquired in this order: an entry's, then one of a shard's, the detached list's or the
// saver's. None of the latter is held while another is acquired, and no lock shared by all sessions
// is needed for output or for changes of an already dirty session.
type Manager[T any] struct {
	opts     Options[T]
	start    time.Time // session times are relative to it, so that setting the clock expires nothing
	attempts *attempts.Table
	shards   [shards]shard[T]
	detached detachedList[T]
	saver    saver[T]
	shared   SharedStore // nil: the Store is of this process only
	nodes    *nodes[T]   // nil: the Store is not one of several nodes
	quit     chan struct{}
	tasks    sync.WaitGroup // flusher and sweeper
	closed   atomic.Bool

	// Counters of Stats.
	count, attached                                                                      atomic.Int64
	created, resumed, takenOver, expired, evicted, ended, refused, dropped, errs, loaded atomic.Uint64
	moved                                                                                atomic.Uint64
}

// shard is one part of the table of sessions.
type shard[T any] struct {
	mu      sync.RWMutex
	entries map[key]*entry[T]

	dirtyMu sync.Mutex
	dirty   []*entry[T] // each entry once
}

// New returns a manager with the unexpired sessions of the Store, all detached; those of a
// [NodeStore] are read when a client presents their ids. A session whose state cannot be
// unmarshalled is reported to OnError and unknown; it stays in the Store until it expires. The
// error is that of an option or of the Store; the Store is not closed then.
func New[T any](opts Options[T]) (*Manager[T], error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	m := &Manager[T]{opts: opts.withDefaults(), start: time.Now(), attempts: attempts.New(attempts.Options{}), quit: make(chan struct{})}
	m.detached.emptied = make(chan struct{}, 1)
	m.saver.init()
	for i := range m.shards {
		m.shards[i].entries = map[key]*entry[T]{}
	}
	if s, ok := m.opts.Store.(NodeStore); ok {
		m.join(s)
		return m, nil
	}
	if m.opts.Store != nil {
		if err := m.load(); err != nil {
			return nil, fmt.Errorf("load sessions: %w", err)
		}
	}
	return m, nil
}

// now returns the time since the manager's start.
func (m *Manager[T]) now() time.Duration { return time.Since(m.start) }

// wallTime converts a time since the manager's start to the time of day.
func (m *Manager[T]) wallTime(t time.Duration) time.Time {
	return time.Now().Add(t - m.now()).Round(0)
}

func (m *Manager[T]) shard(k key) *shard[T] { return &m.shards[k[0]%shards] }

// find returns the session with the id, or nil.
func (m *Manager[T]) find(id string) *entry[T] {
	k := keyOf(id)
	sh := m.shard(k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.entries[k]
}

// forget removes e from the table. e has ended, or could not be created.
func (m *Manager[T]) forget(e *entry[T]) {
	k := keyOf(e.id)
	sh := m.shard(k)
	sh.mu.Lock()
	if sh.entries[k] == e {
		delete(sh.entries, k)
		m.count.Add(-1)
	}
	sh.mu.Unlock()
}

// storeError counts and reports an error of the Store.
func (m *Manager[T]) storeError(err error) {
	m.errs.Add(1)
	m.report(err)
}

func (m *Manager[T]) report(err error) {
	if m.opts.OnError != nil {
		m.opts.OnError(err)
	}
}

// notify calls f, a callback of a holder, in its own goroutine. A panic in f is reported.
func (m *Manager[T]) notify(f func()) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				m.report(fmt.Errorf("panic in a session holder: %v\n%s", p, debug.Stack()))
			}
		}()
		f()
	}()
}

// End ends the session with the id and revokes it from the attached connection; it is removed from
// the Store within 100 ms. With a [NodeStore] it also ends sessions of other nodes. The error is
// ErrUnknown or ErrClosed, or wraps ErrUnavailable.
func (m *Manager[T]) End(id string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
	defer cancel()
	e, err := m.acquire(ctx, id)
	if err != nil {
		return err
	}
	if e == nil {
		return ErrUnknown
	}
	return m.end(e, 0)
}

// end ends e through a handle of generation gen.
func (m *Manager[T]) end(e *entry[T], gen uint64) error {
	e.mu.Lock()
	if err := e.checkLease(gen); err != nil || e.overdue() {
		e.mu.Unlock()
		return cmp.Or(err, ErrUnknown)
	}
	h := e.holder
	e.end()
	e.mu.Unlock()
	m.ended.Add(1)
	m.remove(e)
	if h != nil && gen == 0 {
		m.notify(func() { h.Revoked(nil, ErrUnknown) })
	}
	return nil
}

// remove completes the end of e. e.mu is not held.
func (m *Manager[T]) remove(e *entry[T]) {
	m.forget(e)
	if m.opts.OnEnd != nil {
		m.opts.OnEnd(&e.unbound)
	}
}

// Close detaches and saves all sessions, stops the background goroutines and closes the Store.
// Later operations return ErrClosed; holders are not notified. Close tries to save once. If it
// returns an error, that of the Store or the cause of ctx, the Store is still open and Close can be
// called again.
func (m *Manager[T]) Close(ctx context.Context) error {
	m.saver.mu.Lock()
	first := !m.closed.Swap(true)
	m.saver.mu.Unlock()
	if first {
		m.detached.close()
		close(m.quit)
		var entries []*entry[T]
		for i := range m.shards {
			entries = m.shards[i].appendAll(entries)
		}
		for _, e := range entries {
			e.close()
		}
	}
	if m.opts.Store != nil {
		if err := m.flush(ctx); err != nil {
			return fmt.Errorf("save sessions: %w", err)
		}
	}
	m.tasks.Wait()
	return m.saver.close(m.opts.Store)
}
