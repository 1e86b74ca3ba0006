package session

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// phase is the stage of a session's life. A session never returns to an earlier phase.
type phase uint8

const (
	creating phase = iota // not in the Store yet; no handle exists
	active
	closed   // by Manager.Close; still in the Store
	ended    // by a handle, Manager.End, eviction or expiry
	released // given up for another process; to be saved once more
	lost     // taken by another node; no longer to be saved
)

// entry is one session of a manager.
type entry[T any] struct {
	m       *Manager[T]
	id      string
	created int64 // ns since 1970
	unbound Session[T]

	mu      sync.Mutex
	state   T
	since   time.Duration // attached or detached, since the manager's start
	backlog *backlog      // nil: empty

	// The current attachment.
	holder         Holder // nil: detached
	remote         net.Addr
	gen            uint64 // number of attachments
	base           uint64 // gen when this node created the session or took it over
	deliveryFailed bool   // the holder has returned an error and gets no more output

	// Lifecycle and saving. The small fields are adjacent to keep the struct small.
	phase         phase
	dirty         bool // in a dirty list
	saving        bool // in the batch being saved
	refused       bool // by the Store, and to be saved again later
	marshalFailed bool
	stored        bool // in the Store, or about to be
	brief         bool // its last attachment lasted less than briefTime
	elsewhere     bool // another process has it attached; it is in no list of detached sessions
	taken         bool // the Store contains the next attachment already

	// Position in the lists of detached sessions, guarded by their lock.
	class  uint8
	listed bool
	size   int32            // bytes that count against the limits
	peer   *peerSessions[T] // of its source address; nil: not limited
	links  [2]link[T]       // in the lists of its class and of its peer
}

// init makes the unbound handle of a new entry.
func (e *entry[T]) init() *entry[T] {
	e.unbound.e = e
	return e
}

// checkPhase returns the error for using e in its phase. e.mu is held.
func (e *entry[T]) checkPhase() error {
	switch e.phase {
	case active:
		return nil
	case closed:
		return ErrClosed
	case released, lost:
		return ErrStale
	}
	return ErrUnknown
}

// checkLease returns the error for using e through a handle of generation gen. e.mu is held.
func (e *entry[T]) checkLease(gen uint64) error {
	if err := e.checkPhase(); err != nil {
		return err
	}
	if gen != 0 && (gen != e.gen || e.holder == nil) {
		return ErrStale
	}
	return nil
}

// overdue reports whether e has expired, even if the sweeper has not removed it yet. e.mu is held.
func (e *entry[T]) overdue() bool {
	return e.holder == nil && !e.elsewhere && e.m.opts.TTL > 0 && e.m.now()-e.since >= e.m.opts.TTL
}

func (e *entry[T]) do(f func(*T), gen uint64, save bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := e.phase == ended || e.phase == released || e.phase == lost
	if err := e.checkLease(gen); err != nil && (save || gen != 0 || !gone) {
		return err
	}
	if save {
		defer e.changed() // even if f panics after a change
	}
	f(&e.state)
	return nil
}

// changed records a change of the state. e.mu is held.
func (e *entry[T]) changed() {
	e.m.markDirty(e)
	if e.holder == nil {
		e.m.detached.resize(e, e.bytes())
	}
}

func (e *entry[T]) output(b []byte, gen uint64) error {
	e.mu.Lock()
	err := e.deliver(b, gen)
	detached := e.holder == nil
	e.mu.Unlock()
	if detached {
		e.m.enforceLimits(e)
	}
	return err
}

// deliver passes b to the holder or keeps it. e.mu is held.
func (e *entry[T]) deliver(b []byte, gen uint64) error {
	if err := e.checkLease(gen); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	if e.holder != nil && !e.deliveryFailed {
		if e.holder.Deliver(b, 0) == nil {
			return nil
		}
		e.deliveryFailed = true
	}
	if e.backlog == nil {
		e.backlog = &backlog{}
	}
	if n := e.backlog.add(b, max(0, e.m.opts.MaxOutput)); n > 0 {
		e.m.dropped.Add(uint64(n))
	}
	if e.holder == nil {
		e.m.detached.resize(e, e.bytes())
	}
	return nil
}

// bytes returns the memory of e that counts against the limits. e.mu is held.
func (e *entry[T]) bytes() int {
	n := fixedSize
	if e.m.opts.Size != nil {
		n += e.m.opts.Size(&e.state)
	}
	if e.backlog != nil {
		n += cap(e.backlog.buf)
	}
	return n
}

// worthKeeping reports whether e may be detached and saved. e.mu is held.
func (e *entry[T]) worthKeeping() bool {
	return e.m.opts.Keep == nil || e.m.opts.Keep(&e.state) || e.backlog != nil
}

// clearHolder detaches e. e.mu is held, and e is attached.
func (e *entry[T]) clearHolder() {
	now := e.m.now()
	e.brief = now-e.since < briefTime
	e.holder, e.deliveryFailed, e.since = nil, false, now
	e.m.attached.Add(-1)
}

// end ends e. e.mu is held, and e is active. The caller calls Manager.remove after it has unlocked
// e.
func (e *entry[T]) end() {
	if e.holder != nil {
		e.clearHolder()
	} else {
		e.m.detached.remove(e)
	}
	e.phase, e.backlog = ended, nil
	if e.stored {
		e.m.nodes.setEnding(e.id, true)
	}
	e.m.markDirty(e)
}

// close detaches e for Manager.Close.
func (e *entry[T]) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch e.phase {
	case creating: // Create finds the phase and returns ErrClosed
		e.phase = ended
		e.m.markDirty(e)
	case active:
		if e.holder != nil {
			e.clearHolder()
			e.m.markDirty(e)
		}
		e.phase, e.backlog = closed, nil
	}
}

// record returns e as the Store saves it. e.mu is held.
func (e *entry[T]) record() (Record, error) {
	state, err := e.m.marshal(&e.state)
	if e.marshalFailed = err != nil; err != nil {
		return Record{}, err
	}
	r := Record{ID: e.id, Generation: e.gen, Created: time.Unix(0, e.created), Seen: time.Now().Round(0), Attached: e.holder != nil || e.elsewhere, State: state}
	if !r.Attached {
		r.Seen = e.m.wallTime(e.since)
	}
	if e.m.nodes != nil {
		r.TTL = e.m.nodes.ttl(e)
		if limit := e.m.nodes.store.MaxState(); limit > 0 && len(state) > limit {
			e.marshalFailed = true
			return Record{}, fmt.Errorf("%w: %d bytes, allowed are %d", ErrStateTooLarge, len(state), limit)
		}
	}
	return r, nil
}
