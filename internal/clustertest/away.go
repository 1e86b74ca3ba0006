package clustertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"goranch/protocol/session"
)

// AwayStore is a session.NodeStore that is away for some requests. It has all sessions.
type AwayStore struct {
	mu   sync.Mutex
	away int // requests
}

func (s *AwayStore) Join(session.Node)                     {}
func (s *AwayStore) MaxState() int                         { return 0 }
func (s *AwayStore) Save([]session.Record, []string) error { return nil }
func (s *AwayStore) Each(func(session.Record) bool) error  { return errors.ErrUnsupported }
func (s *AwayStore) Close() error                          { return nil }
func (s *AwayStore) Take(_ context.Context, id string, _ time.Duration, check func(*session.Record) error) (session.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away--; s.away >= 0 {
		return session.Record{}, errors.New("no route")
	}
	r := session.Record{ID: id, Generation: 2, Attached: true, State: []byte(`{}`)}
	return r, check(&r)
}

// SetAway makes the next n requests fail.
func (s *AwayStore) SetAway(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = n
}
