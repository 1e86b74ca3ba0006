package session_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

func TestOutputIsKeptForTheNextHolder(t *testing.T) {
	for _, tt := range []struct {
		name string
		max  int
		out  []string
		want []string
		lost int
	}{
		{"none", 0, nil, []string{}, 0},
		{"order and pieces", 0, []string{"a", "bc", "def"}, []string{"a", "bc", "def"}, 0},
		{"empty pieces are ignored", 0, []string{"a", "", "b"}, []string{"a", "b"}, 0},
		{"exactly the limit", 4, []string{"ab", "cd"}, []string{"ab", "cd"}, 0},
		{"oldest pieces are dropped", 4, []string{"abc", "d", "e"}, []string{"d", "e"}, 3},
		{"piece above the limit", 4, []string{"ab", "cdefg", "h"}, []string{"h"}, 7},
		{"only a piece above the limit", 4, []string{"cdefg"}, []string{}, 5},
		{"one piece replaces several", 4, []string{"a", "b", "c", "defg"}, []string{"defg"}, 3},
		{"nothing is kept", -1, []string{"a", "b"}, []string{}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t, session.Options[state]{MaxOutput: tt.max})
			s := create(t, m, newClient())
			must(t, s.Detach())
			for _, p := range tt.out {
				must(t, s.Unbound().Output([]byte(p)))
			}
			c := newClient()
			again := attach(t, m, s.ID(), c)
			if c.lost != tt.lost {
				t.Errorf("after Attach: got %d bytes lost, want %d", c.lost, tt.lost)
			}
			must(t, again.Output([]byte("new")))
			if diff := cmp.Diff(append(tt.want, "new"), c.pieces()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if got := m.Stats().OutputDropped; got != uint64(tt.lost) {
				t.Errorf("Stats: got %d bytes dropped, want %d", got, tt.lost)
			}
			must(t, again.Detach())
			c = newClient()
			attach(t, m, s.ID(), c)
			if len(c.got) > 0 || c.lost != 0 {
				t.Errorf("second Attach: got output %q and %d bytes lost, want none", c.got, c.lost)
			}
		})
	}
}

func TestOutputThatAHolderRefusesIsKept(t *testing.T) {
	m := newManager(t, session.Options[state]{MaxOutput: 3})
	first := newClient()
	first.limit = 1
	s := create(t, m, first)
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		must(t, s.Output([]byte(p)))
	}
	second := newClient()
	second.limit = 1
	attach(t, m, s.ID(), second)
	third := newClient()
	attach(t, m, s.ID(), third)
	got := [][]string{first.pieces(), second.pieces(), third.pieces()}
	if diff := cmp.Diff([][]string{{"a"}, {"c"}, {"d", "e"}}, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if second.lost != 1 || third.lost != 0 {
		t.Errorf("got %d and %d bytes lost, want 1 and 0", second.lost, third.lost)
	}
}

// refuseFirst is a Holder that returns an error for its first piece only.
type refuseFirst struct {
	*client
	refused bool
}

func (c *refuseFirst) Deliver(b []byte, lost int) error {
	if !c.refused {
		c.refused = true
		return errFull
	}
	return c.client.Deliver(b, lost)
}

// After an error a holder gets no later output, or the pieces would be reordered.
func TestNoOutputAfterAnError(t *testing.T) {
	m := newManager(t, session.Options[state]{})
	c, next := &refuseFirst{client: newClient()}, newClient()
	s := create(t, m, c)
	must(t, s.Output([]byte("a")), s.Output([]byte("b")))
	attach(t, m, s.ID(), next)
	if diff := cmp.Diff([][]string{{}, {"a", "b"}}, [][]string{c.pieces(), next.pieces()}); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// Lost bytes that a holder refused are reported to the next one.
func TestLostBytesAreReportedAgain(t *testing.T) {
	m := newManager(t, session.Options[state]{MaxOutput: 1})
	s := create(t, m, newClient())
	must(t, s.Detach(), s.Unbound().Output([]byte("a")), s.Unbound().Output([]byte("b")))
	attach(t, m, s.ID(), &refuseFirst{client: newClient()})
	next := newClient()
	attach(t, m, s.ID(), next)
	if diff := cmp.Diff([]string{"b"}, next.pieces()); diff != "" || next.lost != 1 {
		t.Errorf("got %d bytes lost, want 1; output (-want +got):\n%s", next.lost, diff)
	}
}
