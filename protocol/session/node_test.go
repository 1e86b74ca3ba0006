package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

// nodeStore is the NodeStore of one node; the records are in the memStore that all nodes share.
type nodeStore struct {
	*memStore
	mu    sync.Mutex
	node  session.Node
	taken []string
	limit int
	fault error // of Take
}

func (s *nodeStore) Join(n session.Node) { s.node = n }
func (s *nodeStore) MaxState() int       { return s.limit }
func (s *nodeStore) Close() error        { return nil }

func (s *nodeStore) Each(func(session.Record) bool) error { return errors.ErrUnsupported }

func (s *nodeStore) Take(_ context.Context, id string, ttl time.Duration, check func(*session.Record) error) (session.Record, error) {
	s.mu.Lock()
	s.taken = append(s.taken, id)
	fault := s.fault
	s.mu.Unlock()
	r, ok := s.record(id)
	if fault != nil || !ok {
		if fault == nil {
			fault = session.ErrUnknown
		}
		return r, fault
	}
	if err := check(&r); err != nil {
		return r, err
	}
	r.Generation++
	r.Attached, r.TTL = true, ttl
	return r, s.Save([]session.Record{r}, nil)
}

// A manager reads no sessions at its start, and takes each over once.
func TestNodeTakesSessionsOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		d.records["x"] = session.Record{ID: "x", Generation: 4, Seen: time.Now().Add(-1000 * time.Hour), State: []byte(`{"N":3}`)}
		s := &nodeStore{memStore: d}
		m := openManager(t, session.Options[state]{Store: s})
		if got := m.Stats(); got.Loaded != 0 || len(m.List()) != 0 {
			t.Errorf("after New: got %d sessions, want none", len(m.List()))
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { attach(t, m, "x", newClient()) })
		}
		wg.Wait()
		if diff := cmp.Diff([]string{"x"}, s.taken); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
		if got := generation(t, m, "x"); got != 9 {
			t.Errorf("generation: got %d, want 9", got)
		}
		s.fault = errors.New("away")
		if _, err := m.Attach(t.Context(), "y", nil, newClient()); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, s.fault) {
			t.Errorf("Attach without the store: got error %v, want %v", err, session.ErrUnavailable)
		}
		attach(t, m, "x", newClient())
		must(t, m.Close(t.Context()))
	})
}

// Records of attached sessions are saved again before they expire, those of detached ones are not.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		m := openManager(t, session.Options[state]{Store: &nodeStore{memStore: d}, TTL: 10 * time.Minute})
		attached, detached := create(t, m, newClient()), create(t, m, newClient())
		must(t, detached.Detach())
		sleep(time.Second)
		before := time.Now()
		for _, tt := range []struct {
			id   string
			want time.Duration
		}{{attached.ID(), 30 * time.Minute}, {detached.ID(), 10 * time.Minute}} {
			if r, _ := d.record(tt.id); r.TTL != tt.want {
				t.Errorf("TTL: got %v, want %v", r.TTL, tt.want)
			}
		}
		sleep(5 * time.Minute)
		must(t, detached.Unbound().Do(func(s *state) { s.N = 1 }))
		sleep(6 * time.Minute)
		if r, _ := d.record(attached.ID()); r.Seen.Before(before) {
			t.Errorf("attached session: got a record of %v, want one after %v", r.Seen, before)
		}
		if got := d.count(); got != 1 {
			t.Errorf("records after the time to live: got %d, want 1", got)
		}
		must(t, m.Close(t.Context()))
	})
}

// A session that another node has is lost in the generation that the node had, and with it what has
// attached since, unless the node has taken the session over again.
func TestLost(t *testing.T) {
	for _, tt := range []struct {
		name       string
		generation uint64 // the session was taken over with 3, and attached again with 4
		err        error
		want       error // of the handle
	}{
		{"before the takeover", 2, session.ErrStale, nil},
		{"before another attachment", 3, session.ErrStale, session.ErrStale},
		{"taken over", 4, session.ErrStale, session.ErrStale},
		{"ended", 4, session.ErrUnknown, session.ErrStale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &nodeStore{memStore: newMemStore()}
				ended := 0
				m := openManager(t, session.Options[state]{Store: s, OnEnd: func(s *session.Session[state]) {
					ended++
					must(t, s.View(func(*state) {}))
				}})
				s.records["x"] = session.Record{ID: "x", Generation: 2, Seen: time.Now(), State: []byte("{}")}
				attach(t, m, "x", newClient())
				c := newClient()
				h := attach(t, m, "x", c)
				must(t, h.Sync(t.Context()))
				saves := s.saves
				must(t, h.Do(func(st *state) { st.N = 1 }))
				s.node.Lost(h.ID(), tt.generation, tt.err)
				s.node.Lost(h.ID(), tt.generation, tt.err)
				s.node.Lost("unknown", tt.generation, tt.err)
				if err := h.Do(func(*state) {}); err != tt.want {
					t.Errorf("Do: got error %v, want %v", err, tt.want)
				}
				if err := h.Unbound().Do(func(*state) {}); err != tt.want {
					t.Errorf("Do of the unbound handle: got error %v, want %v", err, tt.want)
				}
				sleep(time.Second)
				if tt.want == nil {
					must(t, m.Close(t.Context()))
					return
				}
				if got := <-c.revoked; got.by != nil || got.err != tt.err {
					t.Errorf("revoked: got %+v, want %v", got, tt.err)
				}
				if st := m.Stats(); ended != 1 || st.Moved != 1 || st.Attached+st.Detached != 0 {
					t.Errorf("got %d ended and %+v, want 1, 1 moved and no session", ended, st)
				}
				if s.saves != saves {
					t.Errorf("saves of the lost session: got %d, want 0", s.saves-saves)
				}
				must(t, m.Close(t.Context()))
			})
		})
	}
}

// A session that ends is unknown at once, even if it is still in the store, and is not taken over
// from it.
func TestEndedSessionIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nodeStore{memStore: newMemStore()}
		m := openManager(t, session.Options[state]{Store: s})
		h := create(t, m, newClient())
		s.setErr(errors.New("away"))
		must(t, h.End())
		if _, err := m.Attach(t.Context(), h.ID(), nil, newClient()); err != session.ErrUnknown || len(s.taken) != 0 {
			t.Errorf("Attach: got error %v and %d calls of Take, want %v and none", err, len(s.taken), session.ErrUnknown)
		}
		s.setErr(nil)
		sleep(time.Minute)
		if _, err := m.Attach(t.Context(), h.ID(), nil, newClient()); err != session.ErrUnknown || len(s.taken) != 1 {
			t.Errorf("Attach after the removal: got error %v and %d calls of Take, want %v and 1", err, len(s.taken), session.ErrUnknown)
		}
		must(t, m.Close(t.Context()))
	})
}

// Release saves the last changes before it returns; what returns in the meantime is taken back.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nodeStore{memStore: newMemStore()}
		s.delay = time.Second
		m := openManager(t, session.Options[state]{Store: s})
		c := newClient()
		h := create(t, m, c)
		must(t, h.Do(func(st *state) { st.N = 5 }))
		var back *session.Session[state]
		var wg sync.WaitGroup
		wg.Go(func() {
			must(t, s.node.Release(t.Context(), h.ID()))
			if got := s.savedN(t, h.ID()); got != 5 {
				t.Errorf("after Release: got state %d, want 5", got)
			}
		})
		synctest.Wait() // the save takes a second
		wg.Go(func() { back = attach(t, m, h.ID(), newClient()) })
		wg.Wait()
		must(t, back.View(func(st *state) {
			if st.N != 5 {
				t.Errorf("after the return: got state %d, want 5", st.N)
			}
		}))
		if got := <-c.revoked; got.err != session.ErrStale {
			t.Errorf("revoked: got %v, want %v", got.err, session.ErrStale)
		}
		must(t, s.node.Release(t.Context(), "unknown"))
		must(t, m.Close(t.Context()))
	})
}
