package session

import (
	"context"
	"net"
	"sync"
	"time"
)

// phase is where a session is in its life. None is left for an earlier one.
type phase uint8

const (
	pending phase = iota // not in the store yet: nobody else may see it
	live
	closed // with the manager, and in the store
	ended  // by its holder, by the manager's user, or expired
)

// Session is one session, whoever is attached to it: the handle for what outlasts a connection, such as a command
// that is running. Its methods may be called from any goroutine, and return ErrUnknown when it has ended.
type Session[T any] struct {
	m  *Manager[T]
	id string

	mu      sync.Mutex
	state   T
	phase   phase
	deaf    bool // the holder takes no output any more
	queued  bool // among the dirty
	saving  bool // in the batch that is being saved
	refused bool // Marshal could not
	gen     uint64
	holder  Holder // nil: detached
	remote  net.Addr
	created int64         // ns since 1970
	since   time.Duration // attached or detached, after the manager's start
	kept    *backlog      // nil: nothing
	done    chan struct{} // nil: nobody has asked

	waiting    bool // in the idle list, whose lock guards these
	prev, next *Session[T]
}

// ID returns the session's id, with which anybody can resume it.
func (s *Session[T]) ID() string { return s.id }

// Do calls f with the session's state, under its lock, and has it saved within 100 ms. f must neither call
// the session nor keep the state.
func (s *Session[T]) Do(f func(state *T)) error { return s.do(f, 0, true) }

// View is Do for those who only look: nothing is saved. It works on a session that has ended, too.
func (s *Session[T]) View(f func(state *T)) error { return s.do(f, 0, false) }

// Output gives b, which it does not keep, to whoever is attached, or keeps a copy for who attaches next: up to
// MaxOutput bytes, the oldest pieces going first. Pieces are delivered as they were given, in order, none twice.
func (s *Session[T]) Output(b []byte) error { return s.output(b, 0) }

// Done returns a channel that is closed when the session has ended or expired, or the manager was closed.
func (s *Session[T]) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.phase >= closed {
			close(s.done)
		}
	}
	return s.done
}

// Lease is what a connection holds on a session, from Create or Attach until Detach, or until another takes
// over. Its methods return ErrStale after that, ErrUnknown when the session has ended, and ErrClosed when the manager
// was closed. They may be called from any goroutine.
type Lease[T any] struct {
	s   *Session[T]
	gen uint64
}

// ID returns the session's id.
func (l *Lease[T]) ID() string { return l.s.id }

// Generation returns how many times somebody was attached to the session, this time included. A session that comes
// from the Store after a crash may have lost the latest, not saved yet.
func (l *Lease[T]) Generation() uint64 { return l.gen }

// Session returns the session, for what goes on when this connection has gone.
func (l *Lease[T]) Session() *Session[T] { return l.s }

// Do is [Session.Do] for the session's holder.
func (l *Lease[T]) Do(f func(state *T)) error { return l.s.do(f, l.gen, true) }

// View is [Session.View] for the session's holder.
func (l *Lease[T]) View(f func(state *T)) error { return l.s.do(f, l.gen, false) }

// Output is [Session.Output] for the session's holder.
func (l *Lease[T]) Output(b []byte) error { return l.s.output(b, l.gen) }

// Sync returns when everything that was done to the session is in the Store. The error may also be that of the Store
// or of Marshal; what could not be saved is tried again all the same.
func (l *Lease[T]) Sync(ctx context.Context) error {
	s := l.s
	s.mu.Lock()
	err := s.held(l.gen)
	clean := !s.queued && !s.saving && !s.refused
	if err == nil && !clean {
		s.m.mark(s)
	}
	s.mu.Unlock()
	if err != nil || clean {
		return err
	}
	return s.m.saved(ctx, s)
}

// Detach leaves the session for another connection to resume, until its time to live has passed.
func (l *Lease[T]) Detach() error {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.held(l.gen); err != nil {
		return err
	}
	s.leave()
	s.m.idle.push(s)
	s.m.mark(s)
	return nil
}

// End ends the session. The Store forgets it within 100 ms.
func (l *Lease[T]) End() error {
	s := l.s
	s.mu.Lock()
	if err := s.held(l.gen); err != nil {
		s.mu.Unlock()
		return err
	}
	s.end()
	s.mu.Unlock()
	s.m.ended.Add(1)
	s.m.over(s)
	return nil
}

// gone returns why nothing can be done with s, which is locked.
func (s *Session[T]) gone() error {
	switch s.phase {
	case live:
		return nil
	case closed:
		return ErrClosed
	}
	return ErrUnknown
}

// held returns why a lease of generation gen cannot be used. 0 is the session itself.
func (s *Session[T]) held(gen uint64) error {
	if err := s.gone(); err != nil {
		return err
	}
	if gen != 0 && (gen != s.gen || s.holder == nil) {
		return ErrStale
	}
	return nil
}

// overdue reports whether s, which is locked, has expired, also if it has not been swept.
func (s *Session[T]) overdue() bool {
	return s.holder == nil && s.m.opts.TTL > 0 && s.m.now()-s.since >= s.m.opts.TTL
}

func (s *Session[T]) do(f func(*T), gen uint64, changes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.held(gen); err != nil && (changes || gen != 0 || s.phase != ended) {
		return err
	}
	if changes {
		defer s.m.mark(s) // also if f panics half-way
	}
	f(&s.state)
	return nil
}

func (s *Session[T]) output(b []byte, gen uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.held(gen); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	if s.holder != nil && !s.deaf {
		if s.holder.Deliver(b) == nil {
			return nil
		}
		s.deaf = true
	}
	if s.kept == nil {
		s.kept = &backlog{}
	}
	if n := s.kept.add(b, max(0, s.m.opts.MaxOutput)); n > 0 {
		s.m.dropped.Add(uint64(n))
	}
	return nil
}

// leave detaches s, which is locked and attached.
func (s *Session[T]) leave() {
	s.holder, s.deaf, s.since = nil, false, s.m.now()
	s.m.attached.Add(-1)
}

// end ends s, which is locked and live. The caller goes on with over.
func (s *Session[T]) end() {
	if s.holder != nil {
		s.leave()
	} else {
		s.m.idle.remove(s)
	}
	s.finish(ended)
	s.m.mark(s)
}

// close is the manager's Close for s.
func (s *Session[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case pending: // Create will say so
		s.finish(ended)
		s.m.mark(s)
	case live:
		if s.holder != nil {
			s.leave()
			s.m.mark(s)
		}
		s.finish(closed)
	}
}

func (s *Session[T]) finish(p phase) {
	s.phase, s.kept = p, nil
	if s.done != nil {
		close(s.done)
	}
}

func (s *Session[T]) info() (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone() != nil || s.overdue() {
		return Info{}, false
	}
	i := Info{ID: s.id, Attached: s.holder != nil, Remote: s.remote, Created: time.Unix(0, s.created),
		Since: s.m.wall(s.since), Generation: s.gen}
	if s.kept != nil {
		i.Buffered = s.kept.bytes
	}
	if !i.Attached && s.m.opts.TTL > 0 {
		i.Expires = i.Since.Add(s.m.opts.TTL)
	}
	return i, true
}

// record is s, which is locked, as the Store keeps it.
func (s *Session[T]) record() (Record, error) {
	state, err := s.m.marshal(&s.state)
	if s.refused = err != nil; err != nil {
		return Record{}, err
	}
	r := Record{ID: s.id, Generation: s.gen, Created: time.Unix(0, s.created), Seen: time.Now().Round(0), Attached: s.holder != nil, State: state}
	if !r.Attached {
		r.Seen = s.m.wall(s.since)
	}
	return r, nil
}
