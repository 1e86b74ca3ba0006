package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"goranch/protocol/session"
)

// lateStore is a session.NodeStore that is opened in the background, so that a node starts while
// the others do not answer. Until then no session is saved or taken over; those that are worth it
// are saved when the store is open.
type lateStore struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	node   session.Node // nil before Join
	inner  session.NodeStore
	err    error // why it is not open
	closed bool
}

var errNotOpen = errors.New("the sessions of the cluster are not available yet")

// Delays between attempts to open a store.
const minOpenDelay, maxOpenDelay = 100 * time.Millisecond, time.Second

// newLateStore starts to open a store.
func newLateStore(open func(context.Context) (session.NodeStore, error)) *lateStore {
	ctx, cancel := context.WithCancel(context.Background())
	s := &lateStore{cancel: cancel, err: errNotOpen}
	s.done.Go(func() {
		for delay := minOpenDelay; ; delay = min(2*delay, maxOpenDelay) {
			inner, err := open(ctx)
			if err == nil {
				s.opened(inner)
				return
			}
			s.failed(err)
			select {
			case <-time.After(delay/2 + rand.N(delay/2)):
			case <-ctx.Done():
				return
			}
		}
	})
	return s
}

func (s *lateStore) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = fmt.Errorf("%w: %w", errNotOpen, err)
}

func (s *lateStore) opened(inner session.NodeStore) {
	if n := s.use(inner); n != nil {
		n.Resave() // takes locks of sessions
	}
}

// use makes inner the store. It returns the node that has joined before, whose sessions are not
// saved yet; nil if there is none.
func (s *lateStore) use(inner session.NodeStore) session.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		inner.Close()
		return nil
	}
	s.inner, s.err = inner, nil
	if s.node != nil {
		inner.Join(s.node)
	}
	return s.node
}

// get returns the store, or why it is not open.
func (s *lateStore) get() (session.NodeStore, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner, s.err
}

// Degraded returns why the store is not open, or nil.
func (s *lateStore) Degraded() error {
	_, err := s.get()
	return err
}

// Join implements [session.NodeStore].
func (s *lateStore) Join(n session.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node = n
	if s.inner != nil {
		s.inner.Join(n)
	}
}

func (s *lateStore) Save(put []session.Record, remove []string) error {
	inner, err := s.get()
	if err != nil {
		return err
	}
	return inner.Save(put, remove)
}

func (s *lateStore) Take(ctx context.Context, id string, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	inner, err := s.get()
	if err != nil {
		return session.Record{}, err
	}
	return inner.Take(ctx, id, ttl, check)
}

// lateMaxState is the limit until the store is open: the default of package natsstore.
const lateMaxState = 256 << 10

// MaxState implements [session.NodeStore].
func (s *lateStore) MaxState() int {
	if inner, err := s.get(); err == nil {
		return inner.MaxState()
	}
	return lateMaxState
}

// Each is not supported, as by the stores of all nodes.
func (s *lateStore) Each(func(session.Record) bool) error { return errors.ErrUnsupported }

func (s *lateStore) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	inner := s.inner
	s.mu.Unlock()
	s.done.Wait()
	if inner == nil {
		return nil
	}
	return inner.Close()
}
