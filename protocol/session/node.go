package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// NodeStore is a Store that several nodes use at the same time, such as the one of package
// natsstore. A manager does not call Each: it takes a session over when a client presents its id at
// this node.
//
// A record belongs to the node that wrote it last, in its generation. Save compares and sets each
// record on its own: it neither writes nor removes one that another node has taken over, or one of
// a later generation, and calls [Node.Lost] for it, which is not an error. A [SaveError] names the
// records that were refused, such as those that have grown while the store is full. After another
// error of Save the manager saves all records again.
type NodeStore interface {
	Store
	// Join is called once, by New, before all other methods.
	Join(Node)
	// Take takes over the session with the id, whichever node has it, and returns its record:
	// attached, with the next generation, as it is now in the store. The node that has it is asked
	// to save and release it first; one that does not answer is not waited for. Before the record
	// is written, Take calls check with it, and returns the error of check. ttl is the TTL of the
	// record.
	//
	// The error is ErrUnknown if there is no such session. Other errors are those of the store or
	// the cause of ctx.
	Take(ctx context.Context, id string, ttl time.Duration, check func(*Record) error) (Record, error)
	// MaxState is the largest State of a record in bytes. 0 is no limit.
	MaxState() int
}

// SaveError is an error of Save of a [NodeStore] that concerns some records only. All others are
// saved.
type SaveError struct {
	Refused map[string]error // by id: why the record was neither written nor removed
	Err     error            // a summary, without ids
}

func (e *SaveError) Error() string { return e.Err.Error() }
func (e *SaveError) Unwrap() error { return e.Err }

// errorOf returns what an error of Save means for the session with the id.
func errorOf(id string, err error) error {
	var some *SaveError
	if errors.As(err, &some) {
		return some.Refused[id]
	}
	return err
}

// Node is a [Manager] as a [NodeStore] uses it. Its methods may be called from any goroutine.
type Node interface {
	// Release gives up a session for another node: the attached connection loses it, and it is
	// saved and forgotten. If Take is taking it over, that is waited for. For an unknown session,
	// Release waits until what has ended is removed from the store. After an error, which is that
	// of Save or the cause of ctx, the session may not be saved yet; it is saved later, and the
	// store keeps what it needs to refuse that if another node has the session by then. This node
	// does not take it over before.
	Release(ctx context.Context, id string) error
	// Lost says that this node no longer has a session that it had in that generation, whatever has
	// attached to it here since, unless it has taken the session over again since. err is
	// ErrStale if another node has it, and ErrUnknown if another node has ended it. The attached
	// connection is revoked with err. Lost does not wait for the store, so that Save can call it.
	Lost(id string, generation uint64, err error)
	// Resave saves all sessions again. The store calls it after it could not hear of other nodes
	// for some time: a session that one of them has taken over is lost then.
	Resave()
}

// nodes is the part of a Manager that has a NodeStore. It is the manager's Node.
type nodes[T any] struct {
	m     *Manager[T]
	store NodeStore

	mu     sync.Mutex
	taking map[string]chan struct{} // by id; closed at the end of the Take
	ending map[string]struct{}      // ids that have ended and are still in the store
}

const (
	// retryDelay is the time between attempts to attach to a session that is moving to another
	// node.
	retryDelay = 10 * time.Millisecond
	// Records of attached sessions are saved again after the TTL of sessions, within these limits.
	minRefresh, maxRefresh = time.Minute, time.Hour
)

// join makes m a node of the store.
func (m *Manager[T]) join(s NodeStore) {
	m.nodes = &nodes[T]{m: m, store: s, taking: map[string]chan struct{}{}, ending: map[string]struct{}{}}
	s.Join(m.nodes)
	if m.opts.TTL > 0 {
		m.tasks.Go(m.nodes.runRefresher)
	}
}

// refreshInterval is the time after which the record of an attached session is saved again.
func (n *nodes[T]) refreshInterval() time.Duration {
	return min(max(n.m.opts.TTL, minRefresh), maxRefresh)
}

// attachedTTL is how long the record of an attached session is kept if its node ends without
// detaching it: at least the TTL of sessions, and one refresh may be late.
func (n *nodes[T]) attachedTTL() time.Duration {
	if n.m.opts.TTL < 0 {
		return 0
	}
	return n.m.opts.TTL + 2*n.refreshInterval()
}

// ttl returns how long the record of e is to be kept. e.mu is held.
func (n *nodes[T]) ttl(e *entry[T]) time.Duration {
	if e.holder != nil || n.m.opts.TTL < 0 {
		return n.attachedTTL()
	}
	return max(n.m.opts.TTL-(n.m.now()-e.since), time.Second)
}

// runRefresher saves attached sessions again, one shard at a time, before their records expire.
func (n *nodes[T]) runRefresher() {
	ticker := time.NewTicker(n.refreshInterval() / shards)
	defer ticker.Stop()
	for i := 0; ; i = (i + 1) % shards {
		select {
		case <-ticker.C:
			n.resave(&n.m.shards[i], func(e *entry[T]) bool { return e.holder != nil })
		case <-n.m.quit:
			return
		}
	}
}

// resave saves the sessions of sh again that are due.
func (n *nodes[T]) resave(sh *shard[T], due func(*entry[T]) bool) {
	for _, e := range sh.appendAll(nil) {
		e.mu.Lock()
		if e.phase == active && due(e) {
			n.m.markDirty(e)
		}
		e.mu.Unlock()
	}
}

// Resave implements [Node].
func (n *nodes[T]) Resave() {
	for i := range n.m.shards {
		n.resave(&n.m.shards[i], func(*entry[T]) bool { return true })
	}
}

// acquire returns the session with the id, which it takes over if this node does not have it; nil
// is an unknown session.
func (n *nodes[T]) acquire(ctx context.Context, id string) (*entry[T], error) {
	if checkID(id) != nil {
		return nil, nil
	}
	if e := n.m.find(id); e != nil && !e.isMoving() {
		return e, nil
	}
	for {
		running, done, ending := n.startTaking(id)
		if done != nil {
			e, err := n.take(ctx, id)
			n.stopTaking(id, done)
			return e, err
		}
		if running != nil {
			select {
			case <-running:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			continue
		}
		e := n.m.find(id)
		if ending || e != nil && !e.isMoving() {
			return e, nil
		}
		if e == nil {
			continue // it was forgotten at this moment
		}
		if err := n.waitMoved(ctx, e); err != nil {
			return nil, err
		}
	}
}

// startTaking starts to take over the session with the id if this node does not have it: done is
// then passed to stopTaking. Otherwise, running is closed at the end of a concurrent Take, if there
// is one, and ending says that the session has ended here.
func (n *nodes[T]) startTaking(id string) (running, done chan struct{}, ending bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ending = n.ending[id]
	running = n.taking[id]
	// A Take that has ended has added its session before it is removed from taking.
	if running != nil || ending || n.m.find(id) != nil {
		return running, nil, ending
	}
	done = make(chan struct{})
	n.taking[id] = done
	return nil, done, false
}

func (n *nodes[T]) stopTaking(id string, done chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taking, id)
	close(done)
}

// setEnding records whether the session has ended and is still in the store. A nil n does nothing.
func (n *nodes[T]) setEnding(id string, ending bool) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ending {
		n.ending[id] = struct{}{}
	} else {
		delete(n.ending, id)
	}
}

// isMoving reports whether another node has, or is about to have, e.
func (e *entry[T]) isMoving() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase == released || e.phase == lost
}

// take takes over the session with the id and adds it.
func (n *nodes[T]) take(ctx context.Context, id string) (*entry[T], error) {
	m := n.m
	if !m.reserve() {
		m.refused.Add(1)
		return nil, errTooManySessions
	}
	e := (&entry[T]{m: m, id: id, phase: active, stored: true, taken: true}).init()
	r, err := n.store.Take(ctx, id, n.attachedTTL(), func(r *Record) error {
		var state T
		if err := m.unmarshal(r.State, &state); err != nil {
			m.storeError(fmt.Errorf("load a session: %w", err))
			return ErrUnknown
		}
		e.state = state
		return nil
	})
	if err == nil {
		// Attach counts this attachment.
		e.gen, e.base, e.created, e.since = r.Generation-1, r.Generation, r.Created.UnixNano(), m.now()
		err = n.insert(e)
	}
	if err != nil {
		m.count.Add(-1)
	}
	switch {
	case err == nil:
		return e, nil
	case errors.Is(err, ErrUnknown):
		return nil, nil
	case errors.Is(err, ErrClosed), ctx.Err() != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// insert adds e. It waits until an earlier entry of the session, which is lost, has been removed.
func (n *nodes[T]) insert(e *entry[T]) error {
	for {
		inserted, err := n.m.insertAs(e, keyOf(e.id))
		if inserted || err != nil {
			return err
		}
		time.Sleep(retryDelay)
	}
}

// sleep waits for d. The error is the cause of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release implements [Node].
func (n *nodes[T]) Release(ctx context.Context, id string) error {
	for {
		n.mu.Lock()
		taking := n.taking[id]
		n.mu.Unlock()
		e := n.m.find(id)
		switch {
		case taking != nil: // it may have succeeded already
			select {
			case <-taking:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case e == nil:
			return errorOf(id, n.m.flush(ctx))
		case !e.isMoving():
			return n.m.release(ctx, e)
		default: // for another node, but not saved yet
			if err := n.waitMoved(ctx, e); err != nil {
				return err
			}
		}
	}
}

// waitMoved waits for a Save of e, which another node has or is about to have. The error wraps
// ErrUnavailable if e is still to be saved after it.
func (n *nodes[T]) waitMoved(ctx context.Context, e *entry[T]) error {
	e.mu.Lock()
	if e.refused {
		n.m.markDirty(e) // now, not later
	}
	e.mu.Unlock()
	err := errorOf(e.id, n.m.flush(ctx))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.mu.Lock()
	unsaved := err != nil && e.phase == released && n.m.find(e.id) == e
	e.mu.Unlock()
	if unsaved {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return sleep(ctx, retryDelay)
}

// Lost implements [Node].
func (n *nodes[T]) Lost(id string, generation uint64, err error) {
	m := n.m
	e := m.find(id)
	if e == nil {
		return
	}
	e.mu.Lock()
	before, h := e.phase, e.holder
	// Attachments since then, which may have increased e.gen, are to the session that is lost.
	if e.base > generation || before != active && before != creating && before != released {
		e.mu.Unlock()
		return
	}
	if before == active {
		if h != nil {
			e.clearHolder()
		} else {
			m.detached.remove(e)
		}
		e.backlog = nil
	}
	e.phase = lost
	e.mu.Unlock()
	if before == released {
		m.forget(e)
	}
	if before != active {
		return // Create or Release does the rest
	}
	m.moved.Add(1)
	m.forget(e)
	m.notify(func() {
		if h != nil {
			h.Revoked(nil, err)
		}
		if m.opts.OnEnd != nil {
			m.opts.OnEnd(&e.unbound)
		}
	})
}
