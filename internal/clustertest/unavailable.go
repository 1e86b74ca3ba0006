package clustertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"goranch/protocol/session"
)

// UnavailableStore is a session.NodeStore that has all sessions, and fails some requests.
type UnavailableStore struct {
	mu       sync.Mutex
	failures int // of the next calls of Take
}

func (s *UnavailableStore) Join(session.Node)                     {}
func (s *UnavailableStore) MaxState() int                         { return 0 }
func (s *UnavailableStore) Save([]session.Record, []string) error { return nil }
func (s *UnavailableStore) Each(func(session.Record) bool) error  { return errors.ErrUnsupported }
func (s *UnavailableStore) Close() error                          { return nil }
func (s *UnavailableStore) Take(_ context.Context, id string, _ time.Duration, check func(*session.Record) error) (session.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures--; s.failures >= 0 {
		return session.Record{}, errors.New("no route")
	}
	r := session.Record{ID: id, Generation: 2, Attached: true, State: []byte(`{}`)}
	return r, check(&r)
}

// FailNext makes the next n calls of Take fail.
func (s *UnavailableStore) FailNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = n
}
