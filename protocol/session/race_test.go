package session_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"goranch/protocol/session"
)

// rival counts its revocations.
type rival struct {
	revoked atomic.Int32
	all     *sync.WaitGroup
}

func (*rival) Deliver([]byte, int) error { return nil }
func (r *rival) Revoked(net.Addr, error) { r.revoked.Add(1); r.all.Done() }

// Two goroutines take one session over from each other. In the end one holder has it, and every
// other holder has been revoked once.
func TestConcurrentTakeovers(t *testing.T) {
	const rounds = 1000
	m := newManager(t, session.Options[state]{Store: newMemStore()})
	var revocations, wg sync.WaitGroup
	revocations.Add(2 * rounds) // the first holder and all but one of the others
	first := &rival{all: &revocations}
	s := create(t, m, first)
	rivals := [2][]*rival{}
	handles := [2][]*session.Session[state]{}
	for i := range 2 {
		wg.Go(func() {
			for range rounds {
				r := &rival{all: &revocations}
				h, err := m.Attach(t.Context(), s.ID(), nil, r)
				if err != nil {
					t.Error(err)
				}
				rivals[i], handles[i] = append(rivals[i], r), append(handles[i], h)
				h.Do(func(s *state) { s.N++ })
			}
		})
	}
	wg.Wait()
	revocations.Wait()
	holders := 0
	for i := range 2 {
		for j, h := range handles[i] {
			revoked := rivals[i][j].revoked.Load()
			switch err := h.Output([]byte("x")); {
			case err == nil && revoked == 0:
				holders++
			case err != session.ErrStale || revoked != 1:
				t.Errorf("got error %v and %d revocations, want %v and 1", err, revoked, session.ErrStale)
			}
		}
	}
	if holders != 1 || first.revoked.Load() != 1 {
		t.Errorf("got %d holders and %d revocations of the first, want 1 and 1", holders, first.revoked.Load())
	}
	if got := generation(t, m, s.ID()); got != 2*rounds+1 {
		t.Errorf("got generation %d, want %d", got, 2*rounds+1)
	}
}

// All operations run concurrently, for the race detector. The counters agree afterwards.
func TestConcurrentUse(t *testing.T) {
	store := newMemStore()
	m := newManager(t, session.Options[state]{Store: store, TTL: 1e6})
	var wg sync.WaitGroup
	ids := make(chan string, 1000)
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				s := create(t, m, newClient())
				ids <- s.ID()
				s.Do(func(s *state) { s.N = j })
				s.Unbound().Output(fmt.Append(nil, i))
				s.Detach()
				id := <-ids
				if other, err := m.Attach(t.Context(), id, nil, newClient()); err == nil && j%2 == 0 {
					other.End()
				} else if j%3 == 0 {
					m.End(id)
				}
				m.List()
				m.Stats()
			}
		})
	}
	wg.Wait()
	for _, i := range m.List() {
		m.End(i.ID)
	}
	must(t, m.Close(t.Context()))
	if s := m.Stats(); s.Attached != 0 || s.Created != s.Ended+s.Expired+uint64(s.Detached) || len(store.records) != s.Detached {
		t.Errorf("got %+v and %d records, want no attached sessions, created = ended + expired + detached, and a record per detached session", s, len(store.records))
	}
}
