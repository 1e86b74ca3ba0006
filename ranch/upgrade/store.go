package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"goranch/protocol/session"
)

// Store opens a store of sessions that is handed over in an upgrade; name must be the same in all
// processes, such as "shell". In a successor, open is called after the predecessor has closed its
// store; in the predecessor, open is called again if the upgrade fails. After the hand-over the
// predecessor keeps the sessions of its live connections, and the successor stores their changes. A
// session moves to the successor when a client presents its id there.
//
// One manager of package session must be made of the result before Ready; several must not share
// it.
func (u *Upgrader) Store(name string, open func() (session.Store, error)) (session.Store, error) {
	s := &store{u: u, name: name, open: open, changed: make(chan struct{}), orphaned: make(chan struct{})}
	if err := u.stores.add(s); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if u.predecessor != nil {
		ctx, cancel := context.WithTimeout(context.Background(), u.opts.Timeout)
		defer cancel()
		if err := u.predecessor.control.call(ctx, "release", storeCall{Store: name}, &s.elsewhere); err != nil && !errors.Is(err, errEnded) {
			u.stores.remove(s)
			return nil, fmt.Errorf("upgrade: %w: store %s: %w", ErrPredecessor, name, err)
		}
	}
	backend, err := open()
	if err != nil {
		u.stores.remove(s)
		return nil, err
	}
	s.backend = backend
	if !s.elsewhere {
		return s, nil
	}
	context.AfterFunc(u.predecessor.control.ctx, s.orphan)
	return s, nil
}

// storeCall is the argument of calls that concern a store.
type storeCall struct {
	Store  string           `json:"store"`
	ID     string           `json:"id,omitempty"`
	Put    []session.Record `json:"put,omitempty"`
	Remove []string         `json:"remove,omitempty"`
}

// store is a session.SharedStore. Its backend is the store of this process, or the successor.
type store struct {
	u    *Upgrader
	name string
	open func() (session.Store, error)

	use sync.RWMutex // held for reading while the backend is used, and for writing while it is replaced

	mu        sync.Mutex
	backend   session.Store // nil: released, and not yet opened by the successor
	changed   chan struct{} // closed and replaced when backend changes
	manager   session.Sharer
	elsewhere bool          // the predecessor may have sessions
	orphaned  chan struct{} // closed when it has none any more
	closed    bool

	handed bool // the backend is, or will be, the successor; guarded by use
}

var errStoreClosed = errors.New("the store is closed")

func (s *store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// with calls f with the backend, for which it waits.
func (s *store) with(f func(session.Store) error) error {
	for {
		s.use.RLock()
		s.mu.Lock()
		b, changed, closed := s.backend, s.changed, s.closed
		s.mu.Unlock()
		if b != nil || closed {
			defer s.use.RUnlock()
			if closed {
				return errStoreClosed
			}
			return f(b)
		}
		s.use.RUnlock()
		<-changed
	}
}

// replace calls f with the backend while nothing uses it, and replaces it by the result.
func (s *store) replace(f func(session.Store) session.Store) {
	s.use.Lock()
	defer s.use.Unlock()
	s.mu.Lock()
	b := s.backend
	s.mu.Unlock()
	b = f(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backend = b
	close(s.changed)
	s.changed = make(chan struct{})
}

// Save saves in the backend.
func (s *store) Save(put []session.Record, remove []string) error {
	return s.with(func(b session.Store) error { return b.Save(put, remove) })
}

// Each reads the backend.
func (s *store) Each(f func(session.Record) bool) error {
	return s.with(func(b session.Store) error { return b.Each(f) })
}

// Close closes the backend. The successor learns from it that this process has no sessions any
// more.
func (s *store) Close() error {
	err := s.with(session.Store.Close)
	if err != nil && !errors.Is(err, errStoreClosed) && !s.isHanded() {
		return err // it can be closed again
	}
	s.u.stores.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return err
}

// isHanded reports whether the successor has the store.
func (s *store) isHanded() bool {
	s.use.RLock()
	defer s.use.RUnlock()
	return s.handed
}

// Share implements [session.SharedStore]. From now on the successor can save here.
func (s *store) Share(m session.Sharer) {
	s.mu.Lock()
	s.manager = m
	s.mu.Unlock()
}

// Elsewhere implements [session.SharedStore].
func (s *store) Elsewhere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elsewhere
}

// Claim implements [session.SharedStore].
func (s *store) Claim(ctx context.Context, id string) error {
	if !s.Elsewhere() {
		return nil
	}
	err := s.u.predecessor.control.call(ctx, "claim", storeCall{Store: s.name, ID: id}, nil)
	if !s.Elsewhere() {
		return nil // it has ended, and has saved all before
	}
	return err
}

// orphan records that the predecessor has no sessions any more.
func (s *store) orphan() {
	s.mu.Lock()
	m, was := s.manager, s.elsewhere
	s.elsewhere = false
	if was {
		close(s.orphaned)
	}
	s.mu.Unlock()
	if was && m != nil {
		m.Orphaned()
	}
}

// remoteStore is the store of the successor.
type remoteStore struct {
	control *control
	name    string
}

// Limits of one call of "save".
const (
	saveTimeout = 10 * time.Second
	saveBytes   = 4 << 20 // of records, before JSON makes a third more of them
)

// Save sends the changes to the successor, in several calls if they are many.
func (r *remoteStore) Save(put []session.Record, remove []string) error {
	for len(put) > 0 || len(remove) > 0 {
		n, size := 0, 0
		for n < len(put) && (n == 0 || size < saveBytes) {
			size += len(put[n].State) + len(put[n].ID) + 200
			n++
		}
		c := storeCall{Store: r.name, Put: put[:n], Remove: remove[:min(len(remove), 10_000)]}
		put, remove = put[n:], remove[len(c.Remove):]
		if err := r.call("save", c); err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteStore) call(name string, c storeCall) error {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	if err := r.control.call(ctx, name, c, nil); err != nil {
		return fmt.Errorf("successor: %w", err)
	}
	return nil
}

func (r *remoteStore) Each(func(session.Record) bool) error { return errors.ErrUnsupported }

func (r *remoteStore) Close() error { return r.call("closed", storeCall{Store: r.name}) }

// stores are the stores of this process by name.
type stores struct {
	mu     sync.Mutex
	byName map[string]*store
}

func (s *stores) add(st *store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[st.name] != nil {
		return fmt.Errorf("store %s: there is one of this name", st.name)
	}
	if s.byName == nil {
		s.byName = make(map[string]*store)
	}
	s.byName[st.name] = st
	return nil
}

func (s *stores) remove(st *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[st.name] == st {
		delete(s.byName, st.name)
	}
}

func (s *stores) parse(body json.RawMessage) (c storeCall, st *store, err error) {
	if err := json.Unmarshal(body, &c); err != nil {
		return c, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return c, s.byName[c.Store], nil
}

// release closes a store for the successor. The result is whether this process has sessions in it.
func (s *stores) release(body json.RawMessage) (elsewhere bool, err error) {
	_, st, err := s.parse(body)
	if err != nil || st == nil {
		return false, err // the successor opens one that this process does not have
	}
	st.replace(func(b session.Store) session.Store {
		if st.handed || st.isClosed() {
			return b
		}
		if err = b.Close(); err != nil {
			return b
		}
		st.handed, elsewhere = true, true
		return nil
	})
	return elsewhere, err
}

// opened makes the successor the backend of all stores that it has taken.
func (s *stores) opened(c *control) {
	s.each(func(st *store) {
		st.replace(func(b session.Store) session.Store {
			if st.handed {
				return &remoteStore{c, st.name}
			}
			return b
		})
	})
}

func (s *stores) each(f func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.byName {
		f(st)
	}
}

// reopenAll opens the stores again that a successor had taken.
func (s *stores) reopenAll(log *slog.Logger) {
	s.each(func(st *store) {
		st.replace(func(b session.Store) session.Store {
			if !st.handed {
				return b
			}
			st.handed = false
			r := &reopening{open: st.open}
			if _, err := r.get(); err != nil {
				log.Error("a store cannot be opened again after a failed upgrade; its sessions stay in memory until it can", "store", st.name, "err", err)
			}
			return r
		})
	})
}

// reopening is a store that is opened by its first use that succeeds.
type reopening struct {
	open func() (session.Store, error)

	mu sync.Mutex
	s  session.Store
}

func (r *reopening) get() (session.Store, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.s == nil {
		r.s, err = r.open()
	}
	return r.s, err
}

func (r *reopening) Save(put []session.Record, remove []string) error {
	s, err := r.get()
	if err != nil {
		return err
	}
	return s.Save(put, remove)
}

func (r *reopening) Each(f func(session.Record) bool) error {
	s, err := r.get()
	if err != nil {
		return err
	}
	return s.Each(f)
}

func (r *reopening) Close() error {
	s, err := r.get()
	if err != nil {
		return err
	}
	return s.Close()
}

// imports stores what the predecessor has saved.
func (s *stores) imports(ctx context.Context, body json.RawMessage) error {
	c, m, err := s.manager(body)
	if err != nil {
		return err
	}
	return m.Import(ctx, c.Put, c.Remove)
}

// claimed gives up a session for the successor.
func (s *stores) claimed(ctx context.Context, body json.RawMessage) error {
	c, m, err := s.manager(body)
	if err != nil {
		return err
	}
	return m.Release(ctx, c.ID)
}

func (s *stores) manager(body json.RawMessage) (storeCall, session.Sharer, error) {
	c, st, err := s.parse(body)
	if err != nil {
		return c, nil, err
	}
	if st == nil {
		return c, nil, fmt.Errorf("no store %q", c.Store)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.manager == nil {
		return c, nil, fmt.Errorf("store %s has no manager", c.Store)
	}
	return c, st.manager, nil
}

// awaitOrphaned waits until the predecessor has no sessions in any store.
func (s *stores) awaitOrphaned(ctx context.Context) error {
	s.mu.Lock()
	var waits []<-chan struct{}
	for _, st := range s.byName {
		if st.Elsewhere() {
			waits = append(waits, st.orphaned)
		}
	}
	s.mu.Unlock()
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// predecessorClosed records that the predecessor has closed a store.
func (s *stores) predecessorClosed(body json.RawMessage) error {
	_, st, err := s.parse(body)
	if err == nil && st != nil {
		st.orphan()
	}
	return err
}
