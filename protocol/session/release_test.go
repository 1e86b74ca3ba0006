package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/session"
)

// A release during Close, or at the end of a session, returns when the store has what another node
// may read afterwards.
func TestReleaseWaitsForSave(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, m *session.Manager[state], h *session.Session[state])
		want int // records
	}{
		{"close", func(t *testing.T, m *session.Manager[state], _ *session.Session[state]) {
			must(t, m.Close(t.Context()))
		}, 1},
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

// A release, or the end of a session, while an earlier state of it is being saved, is saved after
// that.
func TestReleaseDuringSave(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &nodeStore{memStore: newMemStore()}
			m := openManager(t, session.Options[state]{Store: s})
			h := create(t, m, newClient())
			s.delay = time.Second
			must(t, h.Do(func(st *state) { st.N = 5 }))
			time.Sleep(500 * time.Millisecond) // the Save has begun
			must(t, h.Do(func(st *state) { st.N = 6 }))
			if ends {
				must(t, h.End())
				time.Sleep(700 * time.Millisecond) // that Save has ended, and the next one has not
				if _, err := m.Attach(t.Context(), h.ID(), nil, newClient()); err != session.ErrUnknown {
					t.Errorf("Attach to the ended session: got error %v, want %v", err, session.ErrUnknown)
				}
			} else {
				must(t, s.node.Release(t.Context(), h.ID()))
				if got := s.savedN(t, h.ID()); got != 6 {
					t.Errorf("state after Release: got %d, want 6", got)
				}
			}
			must(t, m.Close(t.Context()))
		})
	}
}

// releasingStore calls Release while it is closed, and waits for it, as a store does that still
// serves a request of another node.
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

// A session that was released for another node, and could not be saved, is not forgotten: while all
// saves fail, a client that presents its id at this node is told to try again, and it gets the
// session with the last changes afterwards if no other node has taken it over.
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

// fullStore refuses records whose state is larger than limit bytes.
type fullStore struct {
	nodeStore
	most int
}

func (s *fullStore) Save(put []session.Record, remove []string) error {
	s.mu.Lock()
	most := s.most
	s.mu.Unlock()
	refused, rest := map[string]error{}, put[:0:0]
	for _, r := range put {
		if len(r.State) > most {
			refused[r.ID] = errFull
		} else {
			rest = append(rest, r)
		}
	}
	if err := s.memStore.Save(rest, remove); err != nil || len(refused) == 0 {
		return err
	}
	return fmt.Errorf("a store: %w", &session.SaveError{Refused: refused, Err: errFull})
}

// attempts returns the number of calls of Save so far.
func (s *fullStore) attempts() int {
	s.memStore.mu.Lock()
	defer s.memStore.mu.Unlock()
	return s.saves
}

// A record that the store refuses concerns its session only: others are saved as soon as before. It
// is saved again with growing delays, and reported once.
func TestRefusedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fullStore{nodeStore: nodeStore{memStore: newMemStore()}, most: 8}
		reported := 0
		m := openManager(t, session.Options[state]{Store: s, OnError: func(error) { reported++ }})
		large, other := create(t, m, newClient()), create(t, m, newClient())
		must(t, large.Do(func(st *state) { st.N = 12345 }))
		for n := range 100 {
			must(t, other.Do(func(st *state) { st.N = n }))
			if n%2 == 0 {
				must(t, other.Sync(t.Context()))
			} else {
				time.Sleep(101 * time.Millisecond)
			}
			if got := s.savedN(t, other.ID()); got != n {
				t.Fatalf("state of the other session: got %d, want %d", got, n)
			}
			if n == 50 {
				if err := large.Sync(t.Context()); !errors.Is(err, errFull) {
					t.Errorf("Sync of the large session: got error %v, want %v", err, errFull)
				}
			}
		}
		must(t, other.Detach(), s.node.Release(t.Context(), other.ID()))
		create(t, m, newClient())
		if got := s.savedN(t, large.ID()); got != 0 || reported != 1 {
			t.Errorf("large session: got state %d and %d reported errors, want 0 and 1", got, reported)
		}
		if err := s.node.Release(t.Context(), large.ID()); !errors.Is(err, errFull) {
			t.Errorf("Release of the large session: got error %v, want %v", err, errFull)
		}
		if err := m.Close(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("Close: got error %v, want %v", err, errFull)
		}
		s.mu.Lock()
		s.most = 100
		s.mu.Unlock()
		must(t, m.Close(t.Context()))
		if got := s.savedN(t, large.ID()); got != 12345 {
			t.Errorf("large session after Close: got state %d, want 12345", got)
		}
	})
}

// A refused record is saved when the store has space again, without another change.
func TestRefusedRecordIsSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fullStore{nodeStore: nodeStore{memStore: newMemStore()}, most: 8}
		m := openManager(t, session.Options[state]{Store: s})
		h := create(t, m, newClient())
		must(t, h.Do(func(st *state) { st.N = 12345 }))
		time.Sleep(time.Minute)
		before := s.attempts()
		time.Sleep(time.Minute)
		if got := s.attempts() - before; got < 5 || got > 7 {
			t.Errorf("attempts in a minute: got %d, want 5 to 7", got)
		}
		s.mu.Lock()
		s.most = 100
		s.mu.Unlock()
		time.Sleep(11 * time.Second)
		if got := s.savedN(t, h.ID()); got != 12345 {
			t.Errorf("state: got %d, want 12345", got)
		}
		must(t, m.Close(t.Context()))
	})
}
