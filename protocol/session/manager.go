package session

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/attempts"
)

// shards is a power of two.
const shards = 64

// Manager knows all sessions of one kind, whose state is a T. Its methods may be called from any goroutine.
//
// Locks are taken in this order: a session's, then one of a shard's, the idle list's or the saver's. None of the
// latter is held while another is taken, and none is shared by all sessions when they only have output or are changed.
type Manager[T any] struct {
	opts   Options[T]
	start  time.Time // what times of sessions are counted from, so that a clock that is set does not end them
	limits *attempts.Table
	shards [shards]shard[T]
	idle   idle[T]
	saver  saver
	quit   chan struct{}
	tasks  sync.WaitGroup // the flusher and the sweeper

	closed                                                                               atomic.Bool
	count, attached                                                                      atomic.Int64
	created, resumed, takenOver, expired, evicted, ended, refused, dropped, errs, loaded atomic.Uint64
}

type shard[T any] struct {
	mu       sync.RWMutex
	sessions map[key]*Session[T]

	dirtyMu sync.Mutex
	dirty   []*Session[T] // each once
}

// New returns a manager that knows the sessions of the Store which have not expired; nobody is attached to
// them. Those whose state cannot be unmarshalled are told to OnError, left in the Store until they
// expire, and unknown. The error is one of the options or of the Store, which is
// open still.
func New[T any](opts Options[T]) (*Manager[T], error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	m := &Manager[T]{opts: opts.withDefaults(), start: time.Now(), limits: attempts.New(attempts.Options{}), quit: make(chan struct{})}
	m.idle.wake = make(chan struct{}, 1)
	m.saver.init()
	for i := range m.shards {
		m.shards[i].sessions = map[key]*Session[T]{}
	}
	if m.opts.Store != nil {
		if err := m.load(); err != nil {
			return nil, fmt.Errorf("sessions of the store: %w", err)
		}
	}
	return m, nil
}

// load makes sessions of the store's records, and removes those from it that have expired.
func (m *Manager[T]) load() error {
	var all, attached []*Session[T]
	var gone []string
	err := m.opts.Store.Each(func(r Record) bool {
		since := time.Duration(0) // who was attached when the last process ended counts from now
		if !r.Attached {
			since = -max(0, m.start.Sub(r.Seen)) // 0 if the clock was set back
		}
		if m.opts.TTL > 0 && -since >= m.opts.TTL {
			gone = append(gone, r.ID)
			return true
		}
		s := &Session[T]{m: m, id: r.ID, phase: live, gen: r.Generation, created: r.Created.UnixNano(), since: since}
		if err := cmp.Or(checkID(r.ID), m.unmarshal(r.State, &s.state)); err != nil {
			m.fault(fmt.Errorf("a session in the store: %w", err))
			return true
		}
		all = append(all, s)
		if r.Attached {
			attached = append(attached, s)
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *Session[T]) int { return cmp.Compare(a.since, b.since) })
	for _, s := range all {
		k := keyOf(s.id)
		m.shard(k).sessions[k] = s
		m.idle.push(s)
	}
	for _, s := range attached {
		m.mark(s) // as detached, so that it does not count anew at every start
	}
	m.count.Store(int64(len(all)))
	m.loaded.Store(uint64(len(all)))
	if len(gone) > 0 {
		if err := m.opts.Store.Save(nil, gone); err != nil {
			m.fault(fmt.Errorf("removing expired sessions: %w", err)) // the next start will try again
		}
		m.expired.Add(uint64(len(gone)))
	}
	return nil
}

// now is the time since the manager's start.
func (m *Manager[T]) now() time.Duration { return time.Since(m.start) }

// wall is the time of day at t.
func (m *Manager[T]) wall(t time.Duration) time.Time { return time.Now().Add(t - m.now()).Round(0) }

func (m *Manager[T]) shard(k key) *shard[T] { return &m.shards[k[0]%shards] }

func (m *Manager[T]) find(id string) *Session[T] {
	k := keyOf(id)
	sh := m.shard(k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.sessions[k]
}

// forget removes s, which has ended or was not to begin.
func (m *Manager[T]) forget(s *Session[T]) {
	k := keyOf(s.id)
	sh := m.shard(k)
	sh.mu.Lock()
	if sh.sessions[k] == s {
		delete(sh.sessions, k)
		m.count.Add(-1)
	}
	sh.mu.Unlock()
}

func (m *Manager[T]) fault(err error) {
	m.errs.Add(1)
	m.tell(err)
}

func (m *Manager[T]) tell(err error) {
	if m.opts.OnError != nil {
		m.opts.OnError(err)
	}
}

// inform calls a holder in a goroutine of its own. A panic there costs nobody else.
func (m *Manager[T]) inform(f func()) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				m.tell(fmt.Errorf("panic in a session's holder: %v\n%s", p, debug.Stack()))
			}
		}()
		f()
	}()
}

// Stats returns what has happened so far.
func (m *Manager[T]) Stats() Stats {
	attached := m.attached.Load()
	return Stats{
		Attached: int(attached), Detached: int(max(0, m.count.Load()-attached)),
		Created: m.created.Load(), Resumed: m.resumed.Load(), TakenOver: m.takenOver.Load(),
		Expired: m.expired.Load(), Evicted: m.evicted.Load(), Ended: m.ended.Load(), Refused: m.refused.Load(),
		OutputDropped: m.dropped.Load(), StoreErrors: m.errs.Load(), Loaded: m.loaded.Load(),
	}
}

// List describes all sessions, in no order.
func (m *Manager[T]) List() []Info {
	infos := make([]Info, 0, m.count.Load())
	var some []*Session[T]
	for i := range m.shards {
		some = m.shards[i].appendAll(some[:0])
		for _, s := range some {
			if info, ok := s.info(); ok {
				infos = append(infos, info)
			}
		}
	}
	return infos
}

func (sh *shard[T]) appendAll(to []*Session[T]) []*Session[T] {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, s := range sh.sessions {
		to = append(to, s)
	}
	return to
}

// End ends the session, whoever is attached to it, and tells its holder if that is an [Ender]. The Store forgets it
// within 100 ms. The error is ErrUnknown if there is none, or ErrClosed.
func (m *Manager[T]) End(id string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	s := m.find(id)
	if s == nil {
		return ErrUnknown
	}
	s.mu.Lock()
	if err := s.gone(); err != nil || s.overdue() {
		s.mu.Unlock()
		return cmp.Or(err, ErrUnknown)
	}
	h := s.holder
	s.end()
	s.mu.Unlock()
	m.ended.Add(1)
	m.over(s)
	if e, ok := h.(Ender); ok {
		m.inform(e.Ended)
	}
	return nil
}

// over is the rest of the end of a session, without its lock.
func (m *Manager[T]) over(s *Session[T]) {
	m.forget(s)
	if m.opts.OnEnd != nil {
		m.opts.OnEnd(s)
	}
}

// Close detaches and saves all sessions, ends what runs in the background, and closes the Store. Nothing
// can be done with the sessions afterwards; their holders are not told. It tries to save once: the error is
// the Store's or the cause of ctx, the Store is open still, and Close may be called again to try once more.
func (m *Manager[T]) Close(ctx context.Context) error {
	m.saver.mu.Lock()
	first := !m.closed.Swap(true)
	m.saver.mu.Unlock()
	if first {
		m.idle.close()
		close(m.quit)
		var all []*Session[T]
		for i := range m.shards {
			all = m.shards[i].appendAll(all)
		}
		for _, s := range all {
			s.close()
		}
	}
	if m.opts.Store != nil {
		if err := m.flushed(ctx); err != nil {
			return fmt.Errorf("saving sessions: %w", err)
		}
	}
	m.tasks.Wait()
	return m.saver.close(m.opts.Store)
}
