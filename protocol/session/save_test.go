package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

// memStore is a Store in memory that can be slow or failing.
type memStore struct {
	mu      sync.Mutex
	records map[string]session.Record
	saves   int
	delay   time.Duration
	err     error
	closed  bool
}

// count returns the number of records in the store.
func (d *memStore) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.records)
}

func newMemStore() *memStore { return &memStore{records: map[string]session.Record{}} }

func (d *memStore) Save(put []session.Record, remove []string) error {
	time.Sleep(d.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saves++
	if d.err != nil {
		return d.err
	}
	for _, r := range put {
		d.records[r.ID] = r
	}
	for _, id := range remove {
		delete(d.records, id)
	}
	return nil
}

func (d *memStore) Each(f func(session.Record) bool) error {
	d.mu.Lock()
	records := maps.Clone(d.records)
	d.mu.Unlock()
	for _, r := range records {
		if !f(r) {
			break
		}
	}
	return nil
}

func (d *memStore) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *memStore) setErr(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *memStore) record(id string) (r session.Record, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok = d.records[id]
	return r, ok
}

// savedN returns the saved state of a session.
func (d *memStore) savedN(t *testing.T, id string) int {
	t.Helper()
	r, ok := d.record(id)
	if !ok {
		t.Fatalf("got no record of session %s, want one", id)
	}
	var s state
	must(t, json.Unmarshal(r.State, &s))
	return s.N
}

func openManager(t *testing.T, opts session.Options[state]) *session.Manager[state] {
	t.Helper()
	m, err := session.New(opts)
	must(t, err)
	return m
}

// sleep advances the time and waits for what is due by then.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestChangesAreSavedTogetherWithin100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		d.delay = 10 * time.Millisecond
		m := openManager(t, session.Options[state]{Store: d})
		defer m.Close(t.Context())
		var wg sync.WaitGroup
		handles := make([]*session.Session[state], 100)
		for i := range handles {
			wg.Go(func() { handles[i] = create(t, m, newClient()) })
		}
		wg.Wait()
		synctest.Wait()
		if d.saves > 3 || len(d.records) != 100 {
			t.Errorf("got %d saves of %d new sessions, want at most 3 of 100", d.saves, len(d.records))
		}
		before := d.saves
		for _, s := range handles {
			must(t, s.Do(func(s *state) { s.N = 5 }), s.Do(func(s *state) { s.N = 6 }))
		}
		must(t, handles[0].End(), handles[1].Detach())
		sleep(100 * time.Millisecond)
		if got := d.savedN(t, handles[99].ID()); got != 6 {
			t.Errorf("after 100 ms: got state %d, want 6", got)
		}
		if n := d.saves - before; n > 2 {
			t.Errorf("got %d saves of 100 changes, want at most 2", n)
		}
		if _, ok := d.record(handles[0].ID()); ok {
			t.Error("ended session: got a record, want none")
		}
		if r, _ := d.record(handles[1].ID()); r.Attached {
			t.Error("detached session: got an attached record, want a detached one")
		}
		before = d.saves
		sleep(time.Minute)
		if d.saves != before {
			t.Errorf("got %d saves without a change, want 0", d.saves-before)
		}
		must(t, handles[9].Do(func(s *state) { s.N = 9 }), handles[9].Sync(t.Context()))
		if got := d.savedN(t, handles[9].ID()); got != 9 {
			t.Errorf("after Sync: got state %d, want 9", got)
		}
	})
}

func TestFailingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		errFull := errors.New("disk full")
		var reported []error
		m := openManager(t, session.Options[state]{Store: d, Max: 2, OnError: func(err error) { reported = append(reported, err) }})
		s := create(t, m, newClient())
		for episode := 1; episode <= 2; episode++ {
			d.setErr(errFull)
			synctest.Wait()
			before := d.saves
			must(t, s.Do(func(s *state) { s.N += 10 }))
			for range 3 {
				if _, err := m.Create(t.Context(), nil, newClient(), state{}); !errors.Is(err, errFull) {
					t.Errorf("Create: got error %v, want %v", err, errFull)
				}
			}
			if err := s.Sync(t.Context()); !errors.Is(err, errFull) {
				t.Errorf("Sync: got error %v, want %v", err, errFull)
			}
			sleep(time.Minute)
			if n := d.saves - before; n < 10 || n > 30 {
				t.Errorf("got %d attempts in a minute, want 10 to 30", n)
			}
			if len(reported) != episode || !errors.Is(reported[0], errFull) {
				t.Errorf("got errors %v, want %d about %v", reported, episode, errFull)
			}
			if got := d.savedN(t, s.ID()); len(m.List()) != 1 || len(d.records) != 1 || got != 10*(episode-1) {
				t.Errorf("got %d sessions, %d records, state %d, want 1, 1, %d", len(m.List()), len(d.records), got, 10*(episode-1))
			}
			d.setErr(nil)
			sleep(20 * time.Second)
			if got := d.savedN(t, s.ID()); got != 10*episode {
				t.Errorf("after the store has recovered: got state %d, want %d", got, 10*episode)
			}
		}
		d.setErr(errFull)
		if err := m.Close(t.Context()); !errors.Is(err, errFull) || d.closed {
			t.Errorf("Close: got error %v, store closed %v, want %v, false", err, d.closed, errFull)
		}
		synctest.Wait()
		d.setErr(nil)
		must(t, m.Close(t.Context()), m.Close(t.Context()))
		if !d.closed || d.records[s.ID()].Attached {
			t.Errorf("after Close: got closed %v, attached record %v, want true, false", d.closed, d.records[s.ID()].Attached)
		}
		if s := m.Stats(); s.StoreErrors < 20 {
			t.Errorf("got %d store errors, want at least 20", s.StoreErrors)
		}
	})
}

func TestCreateCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		d.delay = time.Second
		m := openManager(t, session.Options[state]{Store: d})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := m.Create(ctx, nil, newClient(), state{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create: got error %v, want %v", err, context.DeadlineExceeded)
		}
		sleep(5 * time.Second)
		if len(d.records) != 0 || len(m.List()) != 0 {
			t.Errorf("got %d records and %d sessions, want none", len(d.records), len(m.List()))
		}
		must(t, m.Close(t.Context()))
	})
}

func TestMarshalErrors(t *testing.T) {
	errMarshal := errors.New("bad state")
	d := newMemStore()
	m := newManager(t, session.Options[state]{Store: d, Unmarshal: func(b []byte, s *state) error { return json.Unmarshal(b, s) },
		Marshal: func(s *state) ([]byte, error) {
			switch s.N {
			case 1:
				return nil, errMarshal
			case 2:
				panic("state 2")
			}
			return json.Marshal(s)
		}})
	if _, err := m.Create(t.Context(), nil, newClient(), state{1}); !errors.Is(err, errMarshal) {
		t.Errorf("Create: got error %v, want %v", err, errMarshal)
	}
	s, other := create(t, m, newClient()), create(t, m, newClient())
	must(t, s.Do(func(s *state) { s.N = 1 }), other.Do(func(s *state) { s.N = 3 }))
	if err := s.Sync(t.Context()); !errors.Is(err, errMarshal) {
		t.Errorf("Sync: got error %v, want %v", err, errMarshal)
	}
	must(t, other.Sync(t.Context()), s.Do(func(s *state) { s.N = 2 }))
	if err := s.Sync(t.Context()); err == nil {
		t.Error("Sync after a panic in Marshal: got no error, want one")
	}
	must(t, s.Do(func(s *state) { s.N = 4 }), s.Sync(t.Context()))
	if diff := cmp.Diff([]int{4, 3}, []int{d.savedN(t, s.ID()), d.savedN(t, other.ID())}); diff != "" {
		t.Errorf("saved states (-want +got):\n%s", diff)
	}
	if len(d.records) != 2 {
		t.Errorf("got %d records, want 2", len(d.records))
	}
}

// A process ends without Close, and the next one starts 40 s later.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemStore()
		first := openManager(t, session.Options[state]{Store: d, TTL: time.Minute})
		attached, detached, old := create(t, first, newClient()), create(t, first, newClient()), create(t, first, newClient())
		must(t, old.Detach(), attached.Do(func(s *state) { s.N = 1 }))
		sleep(30 * time.Second)
		must(t, detached.Detach())
		sleep(time.Second)
		crashed := newMemStore()
		crashed.records = maps.Clone(d.records)
		crashed.records["x"] = session.Record{ID: "x", Seen: time.Now(), State: []byte("{")}
		must(t, first.Close(t.Context()))

		sleep(40 * time.Second)
		faults := 0
		m := openManager(t, session.Options[state]{Store: crashed, TTL: time.Minute, Max: 2, OnError: func(error) { faults++ }})
		if _, err := m.Create(t.Context(), nil, newClient(), state{}); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("Create with Max sessions loaded: got error %v, want %v", err, session.ErrTooMany)
		}
		for _, id := range []string{old.ID(), "x"} {
			if _, err := m.Attach(t.Context(), id, nil, newClient()); err != session.ErrUnknown {
				t.Errorf("Attach to an expired or unreadable session: got error %v, want %v", err, session.ErrUnknown)
			}
		}
		if _, ok := crashed.record(old.ID()); ok || faults != 1 {
			t.Errorf("got a record of the expired session %v and %d errors, want false and 1", ok, faults)
		}
		attach(t, m, detached.ID(), newClient())
		sleep(59 * time.Second) // the TTL of a session that was attached starts at the restart
		again := attach(t, m, attached.ID(), newClient())
		must(t, again.View(func(s *state) {
			if s.N != 1 {
				t.Errorf("got state %d, want 1", s.N)
			}
		}))
		if a, b := generation(t, m, attached.ID()), generation(t, m, detached.ID()); a != 2 || b != 2 {
			t.Errorf("got generations %d and %d, want 2 and 2", a, b)
		}
		if s := m.Stats(); s.Loaded != 2 || s.Expired != 1 {
			t.Errorf("got %d loaded and %d expired, want 2 and 1", s.Loaded, s.Expired)
		}
		must(t, m.Close(t.Context()))
	})
}
