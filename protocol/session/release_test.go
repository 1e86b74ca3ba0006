package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/session"
)

// A release during Close, or at the end of a session, returns when the store has what another node may read
// afterwards.
func TestReleaseWaitsForSave(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, m *session.Manager[state], h *session.Session[state])
		want int // records
	}{
		{"close", func(t *testing.T, m *session.Manager[state], _ *session.Session[state]) { must(t, m.Close(t.Context())) }, 1},
		{"end", func(t *testing.T, _ *session.Manager[state], h *session.Session[state]) { must(t, h.End()) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &nodeStore{memStore: newMemStore()}
				m := openManager(t, session.Options[state]{Store: s})
				h := create(t, m, newClient())
				s.delay = time.Second
				must(t, h.Do(func(st *state) { st.N = 5 }))
				var wg sync.WaitGroup
				wg.Go(func() { tt.end(t, m, h) })
				synctest.Wait()
				must(t, s.node.Release(t.Context(), h.ID()))
				if got := s.count(); got != tt.want {
					t.Errorf("records after Release: got %d, want %d", got, tt.want)
				}
				if tt.want > 0 {
					if got := s.savedN(t, h.ID()); got != 5 {
						t.Errorf("state after Release: got %d, want 5", got)
					}
				}
				wg.Wait()
				must(t, m.Close(t.Context()))
			})
		})
	}
}

// releasingStore calls Release while it is closed, and waits for it, as a store does that still serves a
// request of another node.
type releasingStore struct {
	nodeStore
	id string
}

func (s *releasingStore) Join(n session.Node) { s.node = n }

func (s *releasingStore) Close() error {
	s.closed = true
	return s.node.Release(context.Background(), s.id)
}

// Close does not wait for itself.
func TestReleaseDuringCloseOfStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &releasingStore{nodeStore: nodeStore{memStore: newMemStore()}}
		m := openManager(t, session.Options[state]{Store: s})
		s.id = create(t, m, newClient()).ID()
		must(t, m.Close(t.Context()), m.Close(t.Context()))
		if !s.closed {
			t.Error("store: got no Close, want one")
		}
	})
}

// A session that was released for another node, and could not be saved, is not forgotten: while all saves
// fail, a client that presents its id at this node is told to try again, and it gets the session
// with the last changes afterwards if no other node has taken it over.
func TestUnsavedReleaseIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nodeStore{memStore: newMemStore()}
		m := openManager(t, session.Options[state]{Store: s})
		h := create(t, m, newClient())
		must(t, h.Do(func(st *state) { st.N = 5 }))
		full := errors.New("the bucket is full")
		s.setErr(full)
		if err := s.node.Release(t.Context(), h.ID()); !errors.Is(err, full) {
			t.Errorf("Release: got error %v, want %v", err, full)
		}
		for range 3 {
			if _, err := m.Attach(t.Context(), h.ID(), addr(1), newClient()); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, full) {
				t.Errorf("Attach: got error %v, want %v and %v", err, session.ErrUnavailable, full)
			}
		}
		if err := m.End(h.ID()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("End: got error %v, want %v", err, session.ErrUnavailable)
		}
		s.setErr(nil)
		must(t, attach(t, m, h.ID(), newClient()).View(func(st *state) {
			if st.N != 5 {
				t.Errorf("state after the failure: got %d, want 5", st.N)
			}
		}))
		must(t, m.Close(t.Context()))
	})
}
