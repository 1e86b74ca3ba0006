package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
	"goranch/protocol/session"
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
func TestAttachUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &awayStore{}
		srv := newTestServer(t, pubsub.Options{Store: store})
		connected := make(chan client.ConnectInfo, 2)
		opts := client.Options{Transport: srv.mem, Addr: "topics", Token: "123456",
			OnConnect: func(i client.ConnectInfo) { connected <- i }}
		c, err := client.Dial(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		<-connected
		srv.stop() // another node has the session then
		store.setAway(2)
		srv.start(pubsub.Options{Store: store})
		if got := <-connected; !got.Resumed {
			t.Errorf("connected again: got %+v, want the session resumed", got)
		}
		if got := c.Token(); got != "123456" {
			t.Errorf("token: got %s, want that of the earlier session", got)
		}
	})
}
