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

// disk is a Store in memory that can be slow, or broken.
type disk struct {
	mu      sync.Mutex
	records map[string]session.Record
	saves   int
	slow    time.Duration
	broken  error
	closed  bool
}

func newDisk() *disk { return &disk{records: map[string]session.Record{}} }

func (d *disk) Load(id string) (session.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[id]
	if !ok {
		return r, session.ErrUnknown
	}
	return r, nil
}

func (d *disk) Save(put []session.Record, remove []string) error {
	time.Sleep(d.slow)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saves++
	if d.broken != nil {
		return d.broken
	}
	for _, r := range put {
		d.records[r.ID] = r
	}
	for _, id := range remove {
		delete(d.records, id)
	}
	return nil
}

func (d *disk) Each(f func(session.Record) bool) error {
	d.mu.Lock()
	all := maps.Clone(d.records)
	d.mu.Unlock()
	for _, r := range all {
		if !f(r) {
			break
		}
	}
	return nil
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

// n is the state that is saved of the session.
func (d *disk) n(t *testing.T, id string) int {
	t.Helper()
	r, err := d.Load(id)
	do(t, err)
	var s state
	do(t, json.Unmarshal(r.State, &s))
	return s.N
}

func start(t *testing.T, opts session.Options[state]) *session.Manager[state] {
	t.Helper()
	m, err := session.New(opts)
	do(t, err)
	return m
}

// pause lets time pass, and what is due in it happen.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestChangesAreSavedTogetherWithin100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.slow = 10 * time.Millisecond
		m := start(t, session.Options[state]{Store: d})
		defer m.Close(t.Context())
		var wg sync.WaitGroup
		leases := make([]*session.Lease[state], 100)
		for i := range leases {
			wg.Go(func() { leases[i] = create(t, m, newClient()) })
		}
		wg.Wait()
		synctest.Wait()
		if d.saves > 3 || len(d.records) != 100 {
			t.Errorf("%d saves of %d new sessions", d.saves, len(d.records))
		}
		before := d.saves
		for _, l := range leases {
			do(t, l.Do(func(s *state) { s.N = 5 }), l.Do(func(s *state) { s.N = 6 }))
		}
		do(t, leases[0].End(), leases[1].Detach())
		pause(100 * time.Millisecond)
		if n := d.saves - before; n > 2 || d.n(t, leases[99].ID()) != 6 {
			t.Errorf("%d saves of 100 changes", n)
		}
		if _, err := d.Load(leases[0].ID()); err != session.ErrUnknown {
			t.Errorf("ended, and saved: %v", err)
		}
		if r, _ := d.Load(leases[1].ID()); r.Attached {
			t.Error("detached, and not saved")
		}
		before = d.saves
		pause(time.Minute)
		if d.saves != before {
			t.Error("saves with nothing to save")
		}
		do(t, leases[9].Do(func(s *state) { s.N = 9 }), leases[9].Sync(t.Context()))
		if got := d.n(t, leases[9].ID()); got != 9 {
			t.Errorf("after Sync: %d", got)
		}
	})
}

func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		full := errors.New("disk full")
		var told []error
		m := start(t, session.Options[state]{Store: d, Max: 2, OnError: func(err error) { told = append(told, err) }})
		l := create(t, m, newClient())
		for episode := 1; episode <= 2; episode++ {
			d.fail(full)
			synctest.Wait()
			before := d.saves
			do(t, l.Do(func(s *state) { s.N += 10 }))
			for range 3 {
				if _, err := m.Create(t.Context(), nil, newClient(), state{}); !errors.Is(err, full) {
					t.Errorf("Create: %v", err)
				}
			}
			if err := l.Sync(t.Context()); !errors.Is(err, full) {
				t.Errorf("Sync: %v", err)
			}
			pause(time.Minute)
			if n := d.saves - before; n < 10 || n > 30 || len(told) != episode || !errors.Is(told[0], full) {
				t.Errorf("%d attempts in a minute, %d errors told", n, len(told))
			}
			if len(m.List()) != 1 || len(d.records) != 1 || d.n(t, l.ID()) != 10*(episode-1) {
				t.Errorf("%d sessions, %d in the store", len(m.List()), len(d.records))
			}
			d.fail(nil)
			pause(20 * time.Second)
			if d.n(t, l.ID()) != 10*episode {
				t.Error("lost what could not be saved at first")
			}
		}
		d.fail(full)
		if err := m.Close(t.Context()); !errors.Is(err, full) || d.closed {
			t.Errorf("Close: %v", err)
		}
		synctest.Wait()
		d.fail(nil)
		do(t, m.Close(t.Context()), m.Close(t.Context()))
		if !d.closed || d.records[l.ID()].Attached {
			t.Error("not closed, or not detached")
		}
		if s := m.Stats(); s.StoreErrors < 20 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCreateThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.slow = time.Second
		m := start(t, session.Options[state]{Store: d})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := m.Create(ctx, nil, newClient(), state{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create: %v", err)
		}
		pause(5 * time.Second)
		if len(d.records) != 0 || len(m.List()) != 0 {
			t.Errorf("%d in the store, %d in memory", len(d.records), len(m.List()))
		}
		do(t, m.Close(t.Context()))
	})
}

func TestStatesThatCannotBeMarshalled(t *testing.T) {
	bad := errors.New("bad state")
	d := newDisk()
	m := begin(t, session.Options[state]{Store: d, Unmarshal: func(b []byte, s *state) error { return json.Unmarshal(b, s) },
		Marshal: func(s *state) ([]byte, error) {
			switch s.N {
			case 1:
				return nil, bad
			case 2:
				panic("oh")
			}
			return json.Marshal(s)
		}})
	if _, err := m.Create(t.Context(), nil, newClient(), state{1}); !errors.Is(err, bad) {
		t.Errorf("Create: %v", err)
	}
	l, other := create(t, m, newClient()), create(t, m, newClient())
	do(t, l.Do(func(s *state) { s.N = 1 }), other.Do(func(s *state) { s.N = 3 }))
	if err := l.Sync(t.Context()); !errors.Is(err, bad) {
		t.Errorf("Sync: %v", err)
	}
	do(t, other.Sync(t.Context()), l.Do(func(s *state) { s.N = 2 }))
	if err := l.Sync(t.Context()); err == nil {
		t.Error("Sync says that a panic has saved it")
	}
	do(t, l.Do(func(s *state) { s.N = 4 }), l.Sync(t.Context()))
	if diff := cmp.Diff([]int{4, 3}, []int{d.n(t, l.ID()), d.n(t, other.ID())}); diff != "" {
		t.Error(diff)
	}
	if len(d.records) != 2 {
		t.Errorf("%d records", len(d.records))
	}
}

// A process ends without Close, and the next one begins later.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		first := start(t, session.Options[state]{Store: d, TTL: time.Minute})
		attached, detached, old := create(t, first, newClient()), create(t, first, newClient()), create(t, first, newClient())
		do(t, old.Detach(), attached.Do(func(s *state) { s.N = 1 }))
		pause(30 * time.Second)
		do(t, detached.Detach())
		pause(time.Second)
		crashed := newDisk()
		crashed.records = maps.Clone(d.records)
		crashed.records["x"] = session.Record{ID: "x", Seen: time.Now(), State: []byte("{")}
		do(t, first.Close(t.Context()))

		pause(40 * time.Second)
		faults := 0
		m := start(t, session.Options[state]{Store: crashed, TTL: time.Minute, Max: 2, OnError: func(error) { faults++ }})
		if _, err := m.Create(t.Context(), nil, newClient(), state{}); err != session.ErrTooMany {
			t.Errorf("Max does not count those of the store: %v", err)
		}
		for _, id := range []string{old.ID(), "x"} {
			if _, err := m.Attach(t.Context(), id, nil, newClient()); err != session.ErrUnknown {
				t.Errorf("resumed: %v", err)
			}
		}
		if _, err := crashed.Load(old.ID()); err != session.ErrUnknown || faults != 1 {
			t.Errorf("expired: %v; %d faults", err, faults)
		}
		l := attach(t, m, detached.ID(), newClient())
		pause(59 * time.Second) // who was attached has a minute from the start
		again := attach(t, m, attached.ID(), newClient())
		do(t, again.View(func(s *state) {
			if s.N != 1 || l.Generation() != 2 || again.Generation() != 2 {
				t.Errorf("state %d, generations %d and %d", s.N, l.Generation(), again.Generation())
			}
		}))
		if s := m.Stats(); s.Loaded != 2 || s.Expired != 1 {
			t.Errorf("%+v", s)
		}
		do(t, m.Close(t.Context()))
	})
}
