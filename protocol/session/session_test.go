package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

// A handle returns the error of the reason for which it can no longer be used.
func TestHandleErrors(t *testing.T) {
	type manager = session.Manager[state]
	type handle = session.Session[state]
	use := func(s *handle) []error {
		return []error{s.Do(func(*state) {}), s.View(func(*state) {}), s.Output([]byte("x")), s.Sync(context.Background()), s.Detach(), s.End()}
	}
	for _, tt := range []struct {
		name  string
		after func(t *testing.T, m *manager, s *handle)
		want  error
	}{
		{"taken over", func(t *testing.T, m *manager, s *handle) { attach(t, m, s.ID(), newClient()) }, session.ErrStale},
		{"detached", func(t *testing.T, m *manager, s *handle) { must(t, s.Detach()) }, session.ErrStale},
		{"ended", func(t *testing.T, m *manager, s *handle) { must(t, s.End()) }, session.ErrUnknown},
		{"ended by the manager", func(t *testing.T, m *manager, s *handle) { must(t, m.End(s.ID())) }, session.ErrUnknown},
		{"ended unbound", func(t *testing.T, m *manager, s *handle) { must(t, s.Unbound().End()) }, session.ErrUnknown},
		{"manager closed", func(t *testing.T, m *manager, s *handle) { must(t, m.Close(context.Background())) }, session.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t, session.Options[state]{})
			s := create(t, m, newClient())
			tt.after(t, m, s)
			for i, err := range use(s) {
				if err != tt.want {
					t.Errorf("method %d: got error %v, want %v", i, err, tt.want)
				}
			}
		})
	}
}

func TestUnboundHandle(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	s := create(t, m, newClient())
	unbound := s.Unbound()
	must(t, s.Detach(), unbound.Do(func(s *state) { s.N = 1 }), unbound.Sync(t.Context()))
	if err := unbound.Detach(); err != session.ErrStale {
		t.Errorf("Detach: got error %v, want %v", err, session.ErrStale)
	}
	c := newClient()
	if got := attach(t, m, s.ID(), c).Unbound(); got != unbound {
		t.Errorf("after Attach: got handle %p, want %p", got, unbound)
	}
	must(t, unbound.End())
	if got := <-c.revoked; got.err != session.ErrUnknown {
		t.Errorf("revoked with %v, want %v", got.err, session.ErrUnknown)
	}
	n := 0
	if err := unbound.View(func(s *state) { n = s.N }); err != nil || n != 1 {
		t.Errorf("View after the end: got state %d and error %v, want 1 and none", n, err)
	}
}

func TestTakeover(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	old, c := newClient(), newClient()
	s := create(t, m, old)
	must(t, s.Do(func(s *state) { s.N = 7 }), s.Output([]byte("1")))
	again := attach(t, m, s.ID(), c)
	if got := <-old.revoked; got.by.String() != addr(2).String() || got.err != session.ErrStale {
		t.Errorf("revoked by %v with %v, want %v with %v", got.by, got.err, addr(2), session.ErrStale)
	}
	must(t, s.Unbound().Output([]byte("2")))
	n := 0
	must(t, again.View(func(s *state) { n = s.N }))
	if n != 7 {
		t.Errorf("got state %d, want 7", n)
	}
	if got := generation(t, m, s.ID()); got != 2 {
		t.Errorf("got generation %d, want 2", got)
	}
	if diff := cmp.Diff([][]string{{"1"}, {"2"}}, [][]string{old.pieces(), c.pieces()}); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	want := session.Stats{Attached: 1, Created: 1, Resumed: 1, TakenOver: 1}
	if diff := cmp.Diff(want, m.Stats()); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
}

func TestEndRevokesTheHolder(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	c := newClient()
	s := create(t, m, c)
	must(t, m.End(s.ID()))
	if got := <-c.revoked; got.by != nil || got.err != session.ErrUnknown {
		t.Errorf("revoked by %v with %v, want nil with %v", got.by, got.err, session.ErrUnknown)
	}
	if err := m.End(s.ID()); err != session.ErrUnknown {
		t.Errorf("second End: got error %v, want %v", err, session.ErrUnknown)
	}
}

func TestUnknownIDs(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	s := create(t, m, newClient())
	must(t, s.End())
	foreign := create(t, newManager(t, session.Options[state]{}), newClient()).ID()
	for _, id := range []string{"", "0", s.ID(), foreign, "\x00", "ÿ", strings.Repeat("9", 200), strings.Repeat("9", 1<<20)} {
		if _, err := m.Attach(t.Context(), id, nil, newClient()); err != session.ErrUnknown {
			t.Errorf("Attach(%.20q): got error %v, want %v", id, err, session.ErrUnknown)
		}
	}
}

func TestOptionFaults(t *testing.T) {
	_, err := session.New(session.Options[state]{Marshal: func(*state) ([]byte, error) { return nil, nil }})
	want := "option Marshal, Unmarshal (only Marshal set): allowed are both or neither"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	m := newManager(t, session.Options[state]{})
	if _, err := m.Create(t.Context(), nil, nil, state{}); err == nil {
		t.Error("Create without a holder: got no error, want one")
	}
	if _, err := m.Attach(t.Context(), "1", nil, nil); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("Attach without a holder: got error %v, want one about the holder", err)
	}
}
