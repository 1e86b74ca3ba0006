package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"goranch/conns"
	"goranch/ranch"
)

// After each of any sequence of operations on listeners that share a cap, the caps hold, no slot
// stays free while a client waits that could use it, and no client is lost.
func TestSharedCapAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(drawSharedOp), 1, 50).Draw(rt, "ops")
		acceptors := rapid.SliceOfN(rapid.IntRange(1, 5), 2, 3).Draw(rt, "acceptors")
		noDeadline := rapid.Bool().Draw(rt, "no deadline")
		synctest.Test(t, func(t *testing.T) {
			m := newSharedModel(t, acceptors, noDeadline)
			for i, o := range ops {
				if err := errors.Join(m.do(o), m.check()); err != nil {
					t.Fatalf("%v acceptors, no deadline %v, after %v: %v", acceptors, noDeadline, ops[:i+1], err)
				}
			}
		})
	})
}

type sharedOp struct {
	kind     string
	listener int
	n        int
}

func drawSharedOp(t *rapid.T) sharedOp {
	kind := rapid.SampledFrom([]string{
		"connect", "connect", "connect", "connect", "end", "end", "remove", "cap", "shared cap", "suspend", "resume", "wait", "refuse",
	}).Draw(t, "kind")
	return sharedOp{kind, rapid.IntRange(0, 2).Draw(t, "listener"), rapid.IntRange(0, 5).Draw(t, "n")}
}

// sharedModel is a group of listeners and the state that it should have.
type sharedModel struct {
	shared  *conns.Shared
	limit   int
	members []*sharedMember
}

// sharedMember is a listener; of its model only the part is used that does not depend on others.
type sharedMember struct {
	*capModel
	clients int    // that have connected and were neither lost nor refused
	refused uint64 // in the model
}

func newSharedModel(t *testing.T, acceptors []int, noDeadline bool) *sharedModel {
	m := &sharedModel{limit: 3, shared: newShared(t, conns.SharedLimits{MaxConnections: 3})}
	for _, n := range acceptors {
		c := &capModel{f: &fakeTransport{noDeadline: noDeadline}, acceptors: n, limit: 2, running: true}
		c.l, _ = startListener(t, c.f, ranch.Options{NumAcceptors: n, MaxConnections: c.limit, Shared: m.shared}, c)
		m.members = append(m.members, &sharedMember{capModel: c})
	}
	return m
}

func (m *sharedModel) used() (n int) {
	for _, c := range m.members {
		n += c.used()
	}
	return n
}

// used returns how many live connections are counted.
func (c *sharedMember) used() (n int) {
	for _, l := range c.live {
		if l.counted {
			n++
		}
	}
	return n
}

// queue returns how many clients wait in the queue or are pending.
func (c *sharedMember) queue() int {
	n := c.l.Info().PendingConnections
	if c.running {
		n += c.f.lastListener().queued()
	}
	return n
}

// connect connects a client to c.
func (m *sharedModel) connect(c *sharedMember) error {
	full := c.used() >= c.limit || m.used() >= m.limit
	switch _, err := c.f.Dial(context.Background(), dialAddr(c.l)); {
	case (err == nil) != c.running:
		return fmt.Errorf("dial: got %w, want success %v", err, c.running)
	case err != nil:
	case c.refuse && full:
		c.refused++
	default:
		c.clients++
	}
	return nil
}

// do performs one operation, and waits until no acceptor has slots that another listener needs.
func (m *sharedModel) do(o sharedOp) error {
	c := m.members[o.listener%len(m.members)]
	switch o.kind {
	case "connect":
		if err := m.connect(c); err != nil {
			return err
		}
	case "end", "remove":
		if len(c.live) == 0 {
			return nil
		}
		l := c.live[o.n%len(c.live)]
		if o.kind == "remove" {
			ranch.RemoveConnection(l.conn)
			l.counted = false
			break
		}
		c.live = slices.DeleteFunc(c.live, func(x *modelConn) bool { return x == l })
		c.clients--
		close(l.end)
	case "cap":
		c.limit = o.n
		c.l.SetMaxConnections(o.n)
	case "shared cap":
		m.limit = o.n + 1
		if err := m.shared.Set(conns.SharedLimits{MaxConnections: m.limit}); err != nil {
			return err
		}
	case "suspend":
		if c.running { // connections that were not accepted yet are lost
			c.clients -= c.f.lastListener().queued()
		}
		c.running = false
		c.l.Suspend()
	case "resume":
		c.running = true
		c.l.Resume()
	case "wait", "refuse":
		c.refuse = o.kind == "refuse"
		opts := c.l.Options()
		opts.RefuseAfter = map[bool]time.Duration{true: -1}[c.refuse]
		opts.MaxConnections = c.limit
		if c.refuse {
			n := c.queue()
			c.refused += uint64(n)
			c.clients -= n
		}
		if _, err := c.l.ChangeOptions(func(o *ranch.Options) { o.RefuseAfter = opts.RefuseAfter }); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	return nil
}

// check compares the listeners with the model.
func (m *sharedModel) check() error {
	used := 0
	for i, c := range m.members {
		info := c.l.Info()
		used += info.ActiveConnections
		if info.ActiveConnections != c.used() || info.AllConnections != len(c.live) || info.Refused != c.refused {
			return fmt.Errorf("listener %d: got %d active, %d live, %d refused, want %d, %d, %d",
				i, info.ActiveConnections, info.AllConnections, info.Refused, c.used(), len(c.live), c.refused)
		}
		if got := len(c.live) + c.queue(); got != c.clients {
			return fmt.Errorf("listener %d: got %d clients served or waiting, want %d", i, got, c.clients)
		}
		if c.queue() > 0 && c.running && c.used() < c.limit && m.used() < m.limit {
			return fmt.Errorf("listener %d: got %d waiting clients, want none: it uses %d of %d slots, and all together %d of %d",
				i, c.queue(), c.used(), c.limit, m.used(), m.limit)
		}
		if err := checkCounters(info); err != nil {
			return err
		}
	}
	if st := m.shared.State(); st.Used != used || st.Limit != m.limit || st.Peak > 6 {
		return fmt.Errorf("got %+v, want %d used of %d", st, used, m.limit)
	}
	return nil
}
