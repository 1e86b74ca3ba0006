package session_test

import (
	"errors"
	"net"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

func wantTooMany(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, session.ErrTooMany) || err.Error() != text {
		t.Errorf("got error %v, want %s", err, text)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []string
		m := newManager(t, session.Options[state]{TTL: time.Minute, Max: 2, OnEnd: func(s *session.Session[state]) { ended = append(ended, s.ID()) }})
		attached, detached := create(t, m, newClient()), create(t, m, newClient())
		must(t, detached.Detach())
		_, err := m.Create(t.Context(), addr(1), newClient(), state{})
		wantTooMany(t, err, "too many sessions")
		time.Sleep(time.Minute - 1)
		detached = attach(t, m, detached.ID(), newClient())
		must(t, detached.Detach())
		time.Sleep(time.Minute)
		if _, err := m.Attach(t.Context(), detached.ID(), addr(3), newClient()); err != session.ErrUnknown {
			t.Errorf("Attach after the TTL: got error %v, want %v", err, session.ErrUnknown)
		}
		if n := len(m.List()); n != 1 {
			t.Errorf("List: got %d sessions, want 1", n)
		}
		must(t, attached.Output([]byte("x")))
		create(t, m, newClient()) // the expired session does not count, even if it was not swept yet
		if diff := cmp.Diff([]string{detached.ID()}, ended); diff != "" {
			t.Errorf("OnEnd (-want +got):\n%s", diff)
		}
		if s := m.Stats(); s.Expired != 1 || s.Attached != 2 || s.Detached != 0 {
			t.Errorf("got %+v, want 1 expired, 2 attached, 0 detached", s)
		}
	})
}

// The sweeper runs within an eighth of the TTL, or a second.
func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Options[state]{TTL: time.Second})
		for range 100 {
			must(t, create(t, m, newClient()).Detach())
		}
		time.Sleep(time.Second * 9 / 8)
		synctest.Wait()
		if s := m.Stats(); s.Expired != 100 || s.Detached != 0 {
			t.Errorf("got %+v, want 100 expired, 0 detached", s)
		}
	})
}

// The background goroutines run only while they have work.
func TestGoroutinesEnd(t *testing.T) {
	running := func() string {
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		names := ""
		for _, name := range []string{"runSweeper", "runFlusher"} {
			if regexp.MustCompile(`\(\*Manager\[.*\]\)\.` + name + `\(`).Match(stacks) {
				names += name + " "
			}
		}
		return names
	}
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Options[state]{Store: newMemStore()})
		s := create(t, m, newClient())
		time.Sleep(time.Second)
		got := []string{running()}
		must(t, s.Detach())
		synctest.Wait() // Detach saves at once
		got = append(got, running())
		attach(t, m, s.ID(), newClient())
		got = append(got, running())
		time.Sleep(time.Second)
		got = append(got, running())
		if diff := cmp.Diff([]string{"", "runSweeper ", "runFlusher ", ""}, got); diff != "" {
			t.Errorf("goroutines (-want +got):\n%s", diff)
		}
	})
}

func TestNegativeTTLNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Options[state]{TTL: -1})
		s := create(t, m, newClient())
		must(t, s.Detach())
		time.Sleep(1000 * time.Hour)
		if i := m.List()[0]; !i.Expires.IsZero() || i.Attached {
			t.Errorf("got %+v, want a detached session without expiry", i)
		}
		attach(t, m, s.ID(), newClient())
	})
}

func TestAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Options[state]{})
		s := create(t, m, newClient())
		unknown := 0
		var err error
		for range 100 {
			if _, err = m.Attach(t.Context(), "1", addr(unknown), newClient()); err == session.ErrUnknown {
				unknown++
			}
		}
		if unknown > 20 {
			t.Errorf("got %d attempts with an unknown id, want at most 20", unknown)
		}
		wantTooMany(t, err, "too many attempts to resume a session")
		_, err = m.Attach(t.Context(), s.ID(), addr(5), newClient())
		wantTooMany(t, err, "too many attempts to resume a session")
		if _, err := m.Attach(t.Context(), s.ID(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}, newClient()); err != nil {
			t.Errorf("another address: got error %v, want none", err)
		}
		if s := m.Stats(); s.Refused != 101 {
			t.Errorf("got %d refused, want 101", s.Refused)
		}
	})
}

// Evict ends the session detached longest, and never an attached one.
func TestEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Options[state]{Max: 3, Evict: true})
		a, b, c := create(t, m, newClient()), create(t, m, newClient()), create(t, m, newClient())
		_, err := m.Create(t.Context(), nil, newClient(), state{})
		wantTooMany(t, err, "too many sessions")
		must(t, b.Detach())
		time.Sleep(time.Second)
		must(t, a.Detach(), c.Detach())
		attach(t, m, b.ID(), newClient())
		create(t, m, newClient())
		if _, err := m.Attach(t.Context(), a.ID(), nil, newClient()); err != session.ErrUnknown {
			t.Errorf("evicted session: got error %v, want %v", err, session.ErrUnknown)
		}
		attach(t, m, c.ID(), newClient())
		if s := m.Stats(); s.Evicted != 1 || s.Refused == 0 || s.Attached != 3 {
			t.Errorf("got %+v, want 1 evicted, some refused, 3 attached", s)
		}
	})
}
