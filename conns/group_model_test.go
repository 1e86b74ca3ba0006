package conns_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"goranch/conns"
)

// The model of a group is a list of gates without concurrency: numbers, and the waiters of each
// gate. Slots are given to the gates in turn.

// groupGate is a gate, and its state in the model.
type groupGate struct {
	*conns.Gate
	limit, used, reserved int
	pending, queued       []*call
}

// confirm is the name of calls of Confirm, which use the slot that they get.
const confirm = "confirm"

func (g *groupGate) waiters() []*call { return slices.Concat(g.pending, g.queued) }
func (g *groupGate) hasRoom() bool    { return g.used+g.reserved < g.limit }

type groupModel struct {
	*rapid.T
	shared *conns.Shared
	limit  int
	peak   int
	gates  []*groupGate
	next   int
	calls  []*call
	most   int // the most that all slots together may be: the limit, or what it was when that was lowered
}

func newGroupModel(t *rapid.T) *groupModel {
	m := &groupModel{T: t, limit: rapid.IntRange(1, 5).Draw(t, "shared limit")}
	m.most = m.limit
	var err error
	if m.shared, err = conns.NewShared(conns.SharedLimits{MaxConnections: m.limit}); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(1, 3).Draw(t, "gates") {
		limit := rapid.SampledFrom([]int{0, 1, 2, 4, math.MaxInt}).Draw(t, "limit")
		g := &groupGate{Gate: m.shared.NewGate(limit), limit: limit}
		g.Join(func() {}, func() bool { return false })
		m.gates = append(m.gates, g)
	}
	return m
}

func (m *groupModel) sum() (used, reserved int) {
	for _, g := range m.gates {
		used, reserved = used+g.used, reserved+g.reserved
	}
	return used, reserved
}

func (m *groupModel) mayReserve(g *groupGate) bool {
	used, reserved := m.sum()
	return g.hasRoom() && used+reserved < m.limit
}

func (m *groupModel) mayUse(g *groupGate) bool {
	used, _ := m.sum()
	return g.used < g.limit && used < m.limit
}

func (m *groupModel) use(g *groupGate) {
	g.used++
	used, _ := m.sum()
	m.peak = max(m.peak, used)
}

// grant gives the free slots to the waiters.
func (m *groupModel) grant() {
	give := func(g *groupGate, q *[]*call) bool {
		if len(*q) == 0 || !m.mayReserve(g) {
			return false
		}
		if (*q)[0].name == confirm {
			m.use(g)
		} else {
			g.reserved++
		}
		(*q)[0].settle(nil)
		*q = (*q)[1:]
		return true
	}
	for _, queue := range []func(*groupGate) *[]*call{
		func(g *groupGate) *[]*call { return &g.pending }, func(g *groupGate) *[]*call { return &g.queued },
	} {
		for failed := 0; failed < len(m.gates); {
			g := m.gates[m.next%len(m.gates)]
			m.next = (m.next + 1) % len(m.gates)
			if failed++; give(g, queue(g)) {
				failed = 0
			}
		}
	}
}

// wait runs f in a goroutine.
func (m *groupModel) wait(name string, f func(context.Context) error) *call {
	ctx, cancel := context.WithCancelCause(bg)
	c := &call{name: name, cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- f(ctx) }()
	synctest.Wait()
	m.calls = append(m.calls, c)
	return c
}

// reserve reserves a slot of g at once, or waits in q.
func (m *groupModel) reserve(g *groupGate, q *[]*call, action string, f func(context.Context) error) {
	if m.mayReserve(g) {
		g.reserved++
		m.wait(action, f).settle(nil)
		return
	}
	*q = append(*q, m.wait(action, f))
}

// do performs an action on the gate g, and reports whether it was possible.
func (m *groupModel) do(action string, g *groupGate, t *rapid.T) bool {
	switch action {
	case "reserve":
		m.reserve(g, &g.queued, action, g.Reserve)
	case "pending":
		m.reserve(g, &g.pending, action, func(ctx context.Context) error { return g.ReservePending(ctx, nil) })
	case "try":
		want := m.mayReserve(g)
		if want {
			g.reserved++
		}
		if got := g.TryReserve(); got != want {
			m.Fatalf("TryReserve: got %t, want %t", got, want)
		}
	case confirm:
		if g.reserved == 0 {
			return false
		}
		g.reserved--
		if m.mayUse(g) {
			m.use(g)
			m.wait(action, g.Confirm).settle(nil)
			break
		}
		m.grant() // what it cancels
		g.pending = append(g.pending, m.wait(action, g.Confirm))
	case "cancel":
		if g.reserved == 0 {
			return false
		}
		g.reserved--
		g.Cancel()
	case "release":
		if g.used == 0 {
			return false
		}
		g.used--
		g.Release()
	case "give up":
		if !m.giveUp(g, t) {
			return false
		}
	case "limit":
		g.limit = rapid.IntRange(0, 4).Draw(t, "limit")
		if got, want := g.SetLimit(g.limit), g.used+g.reserved > g.limit; got != want {
			m.Fatalf("SetLimit(%d): got %t, want %t", g.limit, got, want)
		}
	case "shared limit":
		m.setLimit(rapid.SampledFrom([]int{1, 2, 3, 6, 0}).Draw(t, "shared limit"))
	}
	m.grant()
	return true
}

// setLimit sets the limit of the group; 0 is none.
func (m *groupModel) setLimit(n int) {
	if err := m.shared.Set(conns.SharedLimits{MaxConnections: n}); err != nil {
		m.Fatal(err)
	}
	if m.limit = n; n == 0 {
		m.limit = math.MaxInt
	}
	used, reserved := m.sum()
	m.most = max(m.limit, used+reserved)
}

// giveUp ends the context of a waiter.
func (m *groupModel) giveUp(g *groupGate, t *rapid.T) bool {
	all := g.waiters()
	if len(all) == 0 {
		return false
	}
	c := rapid.SampledFrom(all).Draw(t, "waiter")
	for _, q := range []*[]*call{&g.pending, &g.queued} {
		*q = slices.DeleteFunc(*q, func(o *call) bool { return o == c })
	}
	c.settle(errGaveUp)
	c.cancel(errGaveUp)
	return true
}

// check compares the group with the model.
func (m *groupModel) check() {
	synctest.Wait()
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
		}
	}
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool { return c.settled })
	used, reserved := m.sum()
	waiting, offers := 0, 0
	for _, g := range m.gates {
		waiting += len(g.waiters())
		offers += g.reserved
	}
	want := conns.SharedState{Limit: m.limit, Used: used, Reserved: reserved, Waiting: waiting, Peak: m.peak, Gates: len(m.gates)}
	if diff := cmp.Diff(want, m.shared.State()); diff != "" {
		m.Fatalf("group (-want +got):\n%s", diff)
	}
	if m.most = max(m.limit, min(m.most, used+reserved)); used+reserved > m.most {
		m.Fatalf("got %d used and %d reserved slots, want at most %d", used, reserved, m.most)
	}
	for i, g := range m.gates {
		want := conns.GateState{
			Limit: g.limit, Used: g.used, Reserved: g.reserved, Waiting: len(g.waiters()), WaitingAcceptors: len(g.queued), Peak: g.State().Peak,
			Over:      g.used+g.reserved > g.limit || used+reserved > m.limit,
			Contended: len(g.pending) > 0 && (g.reserved > 0 || g.hasRoom() && offers > 0),
		}
		if diff := cmp.Diff(want, g.State()); diff != "" {
			m.Fatalf("gate %d (-want +got):\n%s", i, diff)
		}
		if g.State().Peak < g.used {
			m.Fatalf("gate %d: got a peak of %d, want at least %d", i, g.State().Peak, g.used)
		}
		m.checkOthers(i, g)
	}
}

// checkOthers checks what the gate knows of other gates that wait.
func (m *groupModel) checkOthers(i int, g *groupGate) {
	wanted, starves := false, false
	for _, o := range m.gates {
		if o != g && g.reserved > 0 && o.hasRoom() {
			wanted = wanted || len(o.pending) > 0
			starves = starves || o.reserved == 0 && len(o.pending)+len(o.queued) > 0
		}
	}
	if g.Wanted() != wanted || g.Starves() != starves {
		m.Fatalf("gate %d: got Wanted %t, Starves %t, want %t, %t", i, g.Wanted(), g.Starves(), wanted, starves)
	}
}

func TestGroupModel(t *testing.T) {
	actions := []string{"reserve", "reserve", "pending", "try", confirm, confirm, confirm, "cancel", "release", "release", "give up", "limit", "shared limit"}
	run := func(rt *rapid.T) {
		m := newGroupModel(rt)
		defer func() {
			for _, c := range m.calls {
				c.cancel(nil)
			}
			synctest.Wait()
		}()
		m.check()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			action, i := rapid.SampledFrom(actions).Draw(rt, "action"), rapid.IntRange(0, len(m.gates)-1).Draw(rt, "gate")
			if m.do(action, m.gates[i], rt) {
				m.check()
			}
		}
	}
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				var failure any // rapid's own panic, which has to leave the bubble
				synctest.Test(t, func(*testing.T) {
					defer func() { failure = recover() }()
					run(rt)
				})
				switch fmt.Sprintf("%T", failure) {
				case "<nil>":
				case "rapid.invalidData":
					panic(failure) // on a line of its own, as rapid distinguishes failures by their lines
				default:
					panic(failure)
				}
			})
		})
	}
}
