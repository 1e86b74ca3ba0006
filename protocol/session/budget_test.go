package session_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

// budgeted are the options of a manager whose states have a size, a priority and a worth.
type budgeted struct {
	Bytes    int
	Priority int
	Keep     bool
}

func newBudgeted(t *testing.T, opts session.Options[budgeted]) *session.Manager[budgeted] {
	t.Helper()
	opts.Size = func(b *budgeted) int { return b.Bytes }
	opts.Priority = func(b *budgeted) int { return b.Priority }
	opts.Keep = func(b *budgeted) bool { return b.Keep }
	m, err := session.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

// detached makes a session from remote that was attached for d, and detaches it.
func detached(t *testing.T, m *session.Manager[budgeted], remote net.Addr, d time.Duration, state budgeted) string {
	t.Helper()
	s, err := m.Create(t.Context(), remote, newClient(), state)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	return s.ID()
}

// exists reports for each id whether there is a session.
func exists(m *session.Manager[budgeted], ids ...string) (found []bool) {
	known := map[string]bool{}
	for _, i := range m.List() {
		known[i.ID] = true
	}
	for _, id := range ids {
		found = append(found, known[id])
	}
	return found
}

// Of sessions that are not worth keeping a thousand are kept, in memory only, and evicted before
// others.
func TestSessionsNotWorthKeeping(t *testing.T) {
	store := newMemStore()
	m := newBudgeted(t, session.Options[budgeted]{Store: store})
	unix := &net.UnixAddr{Net: "unix"}
	first := detached(t, m, unix, 0, budgeted{})
	for range 1500 {
		detached(t, m, unix, 0, budgeted{})
	}
	last := detached(t, m, unix, 0, budgeted{})
	if st := m.Stats(); st.Detached != 1000 || st.Evicted != 502 {
		t.Errorf("got %d detached and %d evicted, want 1000 and 502", st.Detached, st.Evicted)
	}
	if diff := cmp.Diff([]bool{false, true}, exists(m, first, last)); diff != "" {
		t.Errorf("first and last (-want +got):\n%s", diff)
	}
	if n := store.count(); n != 0 {
		t.Errorf("got %d records saved, want none", n)
	}
	s, err := m.Attach(t.Context(), last, unix, newClient())
	must(t, err)
	must(t, s.Do(func(b *budgeted) { b.Keep = true }), s.Sync(t.Context()))
	if n := store.count(); n != 1 {
		t.Errorf("got %d records saved after a change, want 1", n)
	}
	must(t, s.Detach())
	for range 1500 {
		detached(t, m, unix, 0, budgeted{})
	}
	if got := exists(m, last); !got[0] {
		t.Error("a session worth keeping was evicted")
	}
}

func TestLimitsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBudgeted(t, session.Options[budgeted]{MaxPerAddress: 2, MaxBytesPerAddress: 4096})
		ip := func(last byte) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, last)} }
		other := detached(t, m, ip(9), time.Second, budgeted{Keep: true})
		a := detached(t, m, ip(1), time.Second, budgeted{Keep: true})
		b := detached(t, m, ip(1), time.Second, budgeted{Keep: true})
		c := detached(t, m, ip(1), time.Second, budgeted{Keep: true})
		if diff := cmp.Diff([]bool{true, false, true, true}, exists(m, other, a, b, c)); diff != "" {
			t.Errorf("number (-want +got):\n%s", diff)
		}
		d := detached(t, m, ip(1), time.Second, budgeted{Keep: true, Bytes: 3000})
		if diff := cmp.Diff([]bool{true, false, true, true}, exists(m, other, b, c, d)); diff != "" {
			t.Errorf("number again (-want +got):\n%s", diff)
		}
		e := detached(t, m, ip(2), time.Second, budgeted{Keep: true, Bytes: 3000})
		f := detached(t, m, ip(2), time.Second, budgeted{Keep: true, Bytes: 100})
		if diff := cmp.Diff([]bool{true, false, true}, exists(m, other, e, f)); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
		if s := m.Stats(); s.Evicted != 3 {
			t.Errorf("got %d evicted, want 3", s.Evicted)
		}
	})
}

// Sessions of low priority are evicted first, then those that were attached briefly.
func TestEvictionOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBudgeted(t, session.Options[budgeted]{Max: 4, Evict: true})
		unix := &net.UnixAddr{Net: "unix"}
		operator := detached(t, m, unix, time.Second, budgeted{Keep: true, Priority: 3})
		viewer := detached(t, m, unix, time.Second, budgeted{Keep: true, Priority: 1})
		long := detached(t, m, unix, time.Hour/8, budgeted{Keep: true})
		brief := detached(t, m, unix, time.Second, budgeted{Keep: true})
		evict := func(want ...bool) {
			t.Helper()
			if _, err := m.Create(t.Context(), unix, newClient(), budgeted{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, exists(m, brief, long, viewer, operator)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		evict(false, true, true, true)
		evict(false, false, true, true)
		evict(false, false, false, true)
		evict(false, false, false, false)
		if _, err := m.Create(t.Context(), unix, newClient(), budgeted{}); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("with attached sessions only: got %v, want %v", err, session.ErrTooMany)
		}
	})
}

func TestMaxBytesEvicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBudgeted(t, session.Options[budgeted]{MaxBytes: 10_000, MaxOutput: 8000})
		unix := &net.UnixAddr{Net: "unix"}
		a := detached(t, m, unix, time.Second, budgeted{Keep: true, Bytes: 4000})
		b := detached(t, m, unix, time.Second, budgeted{Keep: true, Bytes: 4000})
		if got := exists(m, a, b); !got[0] || !got[1] {
			t.Fatalf("got %v, want both", got)
		}
		s, err := m.Attach(t.Context(), b, unix, newClient())
		must(t, err)
		unbound := s.Unbound()
		must(t, s.Detach(), unbound.Output(make([]byte, 5000))) // output of a running command
		if diff := cmp.Diff([]bool{false, true}, exists(m, a, b)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A flood of sessions costs the flooding address its own sessions, and new clients can still
// connect.
func TestFloodOfSessions(t *testing.T) {
	m := newBudgeted(t, session.Options[budgeted]{Max: 1000, Evict: true, MaxPerAddress: 100})
	honest := detached(t, m, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, 0, budgeted{Keep: true})
	for range 5000 {
		detached(t, m, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}, 0, budgeted{Keep: true})
	}
	if got := exists(m, honest); !got[0] {
		t.Error("the flood has evicted the session of another address")
	}
	if n := m.Stats().Detached; n != 101 {
		t.Errorf("got %d detached sessions, want 101", n)
	}
	if _, err := m.Create(t.Context(), addr(3), newClient(), budgeted{}); errors.Is(err, session.ErrTooMany) {
		t.Errorf("got %v, want a new session", err)
	}
}
