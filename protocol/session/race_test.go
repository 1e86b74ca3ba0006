package session_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"goranch/protocol/session"
)

type rival struct {
	told  atomic.Int32
	total *sync.WaitGroup
}

func (*rival) Deliver([]byte) error { return nil }
func (r *rival) TakenOver(net.Addr) { r.told.Add(1); r.total.Done() }

// Two that attach at the same time, again and again: one holds the session in the end, and all others were told.
func TestTakeoversRaced(t *testing.T) {
	const rounds = 1000
	m := begin(t, session.Options[state]{Store: newDisk()})
	var told, wg sync.WaitGroup
	told.Add(2 * rounds) // all but one of the first and those that attach
	first := &rival{total: &told}
	l := create(t, m, first)
	rivals := [2][]*rival{}
	leases := [2][]*session.Lease[state]{}
	for i := range 2 {
		wg.Go(func() {
			for range rounds {
				r := &rival{total: &told}
				lease, err := m.Attach(t.Context(), l.ID(), nil, r)
				if err != nil {
					t.Error(err)
				}
				rivals[i], leases[i] = append(rivals[i], r), append(leases[i], lease)
				lease.Do(func(s *state) { s.N++ })
			}
		})
	}
	wg.Wait()
	told.Wait()
	holders, generations := 0, map[uint64]bool{}
	for i := range 2 {
		for j, lease := range leases[i] {
			generations[lease.Generation()] = true
			switch err := lease.Output([]byte("x")); {
			case err == nil && rivals[i][j].told.Load() == 0:
				holders++
			case err != session.ErrStale || rivals[i][j].told.Load() != 1:
				t.Errorf("%v, told %d times", err, rivals[i][j].told.Load())
			}
		}
	}
	if holders != 1 || first.told.Load() != 1 || len(generations) != 2*rounds || m.List()[0].Generation != 2*rounds+1 {
		t.Errorf("%d holders, %d generations, the last %d", holders, len(generations), m.List()[0].Generation)
	}
}

// Everything at once, for the race detector; nothing is left of it.
func TestEverythingRaced(t *testing.T) {
	d := newDisk()
	m := begin(t, session.Options[state]{Store: d, TTL: 1e6})
	var wg sync.WaitGroup
	ids := make(chan string, 1000)
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				l := create(t, m, newClient())
				ids <- l.ID()
				l.Do(func(s *state) { s.N = j })
				l.Session().Output(fmt.Append(nil, i))
				l.Detach()
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
	do(t, m.Close(t.Context()))
	if s := m.Stats(); s.Attached != 0 || s.Created != s.Ended+s.Expired+uint64(s.Detached) || len(d.records) != s.Detached {
		t.Errorf("%+v, %d records", s, len(d.records))
	}
}
