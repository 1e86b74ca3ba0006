package conns_test

import (
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"goranch/conns"
)

// Check compares the model with the real gate and supervisor. It runs after each action.
func (m *model) Check(*rapid.T) {
	synctest.Wait()
	for _, s := range m.shutdowns {
		if s.settled {
			continue
		}
		if len(m.live()) == 0 {
			s.settle(nil)
		} else if !s.aborted.IsZero() && time.Since(s.aborted) > conns.StuckGrace {
			m.checkStuck(s)
		}
	}
	m.checkCalls()
	m.state.Waiting = len(m.reserves) + len(m.pending) + len(m.confirms)
	m.state.WaitingAcceptors = len(m.reserves)
	m.state.Over = m.state.Used+m.state.Reserved > m.state.Limit
	m.state.Contended = len(m.pending) > 0 && m.reservations() > 0
	if diff := cmp.Diff(m.state, m.gate.State()); diff != "" {
		m.Fatalf("gate (-want +got):\n%s", diff)
	}
	m.ceiling = max(m.state.Limit, min(m.ceiling, m.state.Used+m.state.Reserved))
	if s := m.gate.State(); s.Used+s.Reserved > m.ceiling {
		m.Fatalf("got %d used and %d reserved slots, want at most %d", s.Used, s.Reserved, m.ceiling)
	}
	m.counts.Handshakes = 0
	for _, p := range m.live() {
		if p.state == handshaking {
			m.counts.Handshakes++
		}
	}
	got := m.sup.Counters()
	if diff := cmp.Diff(m.counts, got, onlyEnds); diff != "" {
		m.Fatalf("counters (-want +got):\n%s", diff)
	}
	if s := imbalance(got); s != "" {
		m.Fatal(s)
	}
	m.checkList()
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(numbered(m.ends), numbered(m.ended)); diff != "" {
		m.Fatalf("ends (-want +got):\n%s", diff)
	}
	if s := m.faults.first(); s != "" {
		m.Fatal(s)
	}
}

func (m *model) checkCalls() {
	var left []*call
	for _, c := range m.calls {
		select {
		case err := <-c.done:
			if !c.settled || !errors.Is(err, c.want) {
				m.Fatalf("%s: got %v, want %v (or to wait: %t)", c.name, err, c.want, !c.settled)
			}
		default:
			if c.settled {
				m.Fatalf("%s: still waiting, want %v", c.name, c.want)
			}
			left = append(left, c)
		}
		if got := c.interrupts.Load() == 1; got != c.wantInterrupt {
			m.Fatalf("%s: got interrupt %t, want %t", c.name, got, c.wantInterrupt)
		}
	}
	m.calls = left
}

// checkStuck checks the error of a shutdown whose time has passed.
func (m *model) checkStuck(s *shutdown) {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool { return c == s.call })
	s.settle(nil)
	var e *conns.StuckError
	select {
	case err := <-s.done:
		if !errors.As(err, &e) {
			m.Fatalf("Drain: got %v, want a StuckError", err)
		}
	default:
		m.Fatalf("Drain: still waiting, want a StuckError after %v", conns.StuckGrace)
	}
	if len(e.Conns) == 0 {
		m.Fatalf("got a StuckError without connections, want some: %v", e)
	}
}

func (m *model) checkList() {
	type entry struct {
		Serving, Counted bool
	}
	want, got := map[uint64]entry{}, map[uint64]entry{}
	m.mu.Lock()
	for _, p := range m.live() {
		if c := m.started[p]; c == nil {
			m.Errorf("connection %d: got no Started, want one", p.n)
		} else {
			want[c.ID()] = entry{p.state == serving, p.counted}
		}
	}
	m.mu.Unlock()
	for _, c := range list(m.sup) {
		got[c.ID] = entry{c.Served, c.Counted}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.Fatalf("List (-want +got):\n%s", diff)
	}
}

// finish ends all waiters and connections, after which no slot may be used.
func (m *model) finish() {
	for _, c := range slices.Concat(m.reserves, m.pending) {
		c.cancel(errGaveUp)
		c.settle(errGaveUp)
	}
	for _, c := range m.confirms {
		c.cancel(errGaveUp)
		c.settle(errGaveUp)
		m.state.Reserved--
		m.refuse(m.pendingOf[c])
	}
	m.reserves, m.pending, m.confirms = nil, nil, nil
	for _, p := range m.live() {
		m.end(p, conns.Panicked)
		p.finish <- endings[3].do
	}
	for range m.state.Reserved {
		m.gate.Cancel()
	}
	m.state.Reserved = 0
	m.Check(m.T)
	if m.state.Used != 0 {
		m.Fatalf("got %+v at the end, want no used slot: the model is wrong", m.state)
	}
	if err := m.sup.Drain(bg, conns.DrainOptions{}); err != nil {
		m.Fatalf("Drain: got %v, want nil", err)
	}
}

// clear ends every goroutine, also after a failure.
func (m *model) clear() {
	close(m.release)
	for _, c := range m.calls {
		c.cancel(nil)
	}
	for _, s := range m.shutdowns {
		s.cancel(nil)
	}
	synctest.Wait()
}
