package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/protocol/shell/client"
)

// awayStore is a session.NodeStore that is away for some requests. It has all sessions.
type awayStore struct {
	mu   sync.Mutex
	away int // requests
}

func (s *awayStore) Join(session.Node)                     {}
func (s *awayStore) MaxState() int                         { return 0 }
func (s *awayStore) Save([]session.Record, []string) error { return nil }
func (s *awayStore) Each(func(session.Record) bool) error  { return errors.ErrUnsupported }
func (s *awayStore) Close() error                          { return nil }
func (s *awayStore) Take(_ context.Context, id string, _ time.Duration, check func(*session.Record) error) (session.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away--; s.away >= 0 {
		return session.Record{}, errors.New("no route")
	}
	r := session.Record{ID: id, Generation: 2, Attached: true, State: []byte(`{}`)}
	return r, check(&r)
}

func (s *awayStore) setAway(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = n
}

// While the sessions of other nodes are away, the client connects again and keeps its session.
func TestResumeUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &awayStore{}
		opts := shell.Options{Sessions: session.Options[shell.State]{Store: store}}
		s := newTestServer(t, opts)
		c, r := s.dial(client.Options{Session: "123456"})
		s.stop() // another node has the session then
		store.setAway(2)
		s.start(opts)
		var err error
		for range 5 {
			if _, err = c.Call(t.Context(), "echo x"); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if err != nil {
			t.Errorf("call: got %v, want no error", err)
		}
		equal(t, "session", "123456", c.Session())
		equal(t, "callbacks", []string{"connected, resumed true", "shutdown", "disconnected", "connected, resumed true"}, r.take())
	})
}
