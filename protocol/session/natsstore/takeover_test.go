package natsstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// A session moves from a node that lives, is paused, was closed or is cut off, with what that node
// has saved, and back.
func TestTakeover(t *testing.T) {
	e := newEngine(t, nil)
	tests := []struct {
		name string
		// before changes the old node before the takeover, and returns what makes it hear of it.
		before  func(t *testing.T, n *testNode) (after func())
		unsaved bool // whether the last change, which is not saved yet, moves too
		revoked error
	}{
		{name: "alive", unsaved: true, revoked: session.ErrStale, before: func(*testing.T, *testNode) func() { return func() {} }},
		{name: "paused", revoked: session.ErrStale, before: func(_ *testing.T, n *testNode) func() { return n.hook.pause() }},
		{name: "closed", unsaved: true, before: func(t *testing.T, n *testNode) func() {
			must(t, n.Close(t.Context()))
			return func() {}
		}},
		{name: "cut off", revoked: session.ErrStale, before: func(t *testing.T, n *testNode) func() { return n.cutOff(t) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := natsstore.Options{Bucket: "takeover"}
			a, b := newNode(t, e, session.Options[state]{}, opts), newNode(t, e, session.Options[state]{}, opts)
			holder := newClient()
			s := a.create(t, holder)
			set(t, s, 1)
			must(t, s.Sync(t.Context()))
			want := 1
			if tt.unsaved {
				want = 2
				set(t, s, 2)
			}
			after := tt.before(t, a)
			defer after()
			second := newClient()
			taken := b.attach(t, s.ID(), second)
			wantState(t, taken, want)
			if got := b.generation(s.ID()); got != 2 {
				t.Errorf("generation: got %d, want 2", got)
			}
			set(t, taken, 7)
			must(t, taken.Sync(t.Context()))
			if tt.revoked == nil {
				return
			}
			if tt.name != "alive" {
				set(t, s, 99) // an old node that has not heard of it
			}
			after()
			holder.wantRevoked(t, tt.revoked)
			if err := s.Do(func(*state) {}); err != session.ErrStale {
				t.Errorf("former session: got error %v, want %v", err, session.ErrStale)
			}
			waitFor(t, "end of the session at the old node", func() bool {
				st := a.Stats()
				return st.Moved == 1 && st.Attached == 0 && st.Detached == 0
			})
			waitFor(t, "connection", a.nc.IsConnected)
			back := a.attach(t, s.ID(), newClient())
			wantState(t, back, 7)
			second.wantRevoked(t, session.ErrStale)
			if got := a.generation(s.ID()); got != 3 {
				t.Errorf("generation after the return: got %d, want 3", got)
			}
		})
	}
}

// A node that does not hear of a takeover loses the session, also if the node that has taken it
// over does not hear whether it has succeeded.
func TestTakeoverWithoutAnswers(t *testing.T) {
	e := newEngine(t, nil)
	opts := session.Options[state]{TTL: time.Hour} // the record is not saved again by itself
	a, b := newNode(t, e, opts, natsstore.Options{}), newNode(t, e, opts, natsstore.Options{})
	holder := newClient()
	s := a.create(t, holder)
	set(t, s, 1)
	must(t, s.Sync(t.Context()))
	a.link.deaf.Store(true)
	b.hook.taking = func() { b.link.deaf.Store(true) }
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.Attach(ctx, s.ID(), addr, newClient()); err == nil {
		t.Fatal("Attach without an answer: got no error, want one")
	}
	a.link.deaf.Store(false)
	b.link.deaf.Store(false)
	holder.wantRevoked(t, session.ErrStale)
}

// A node that is paused and then saves, before it hears of another node, loses the session by its
// save.
func TestOldNodeSaves(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	holder := newClient()
	s := a.create(t, holder)
	resume := a.hook.pause()
	defer resume()
	taken := b.attach(t, s.ID(), newClient())
	set(t, taken, 5)
	must(t, taken.Sync(t.Context()))
	set(t, s, 6)
	if err := s.Sync(t.Context()); err != session.ErrStale {
		t.Errorf("Sync in the old node: got error %v, want %v", err, session.ErrStale)
	}
	holder.wantRevoked(t, session.ErrStale)
	resume()
	waitFor(t, "release of the lease", func() bool { return natsstore.Held(a.store) == 0 })
	must(t, b.Close(t.Context()))
	wantState(t, a.attach(t, s.ID(), newClient()), 5)
}

// A client that returns to a node which has not heard that another one has the session is revoked.
func TestReturnToOldNode(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	s := a.create(t, newClient())
	resume := a.hook.pause()
	defer resume()
	set(t, b.attach(t, s.ID(), newClient()), 5)
	c := newClient()
	a.attach(t, s.ID(), c)
	c.wantRevoked(t, session.ErrStale)
	resume()
	// The release for b, which was in progress, may still revoke the next client.
	waitFor(t, "the state of the other node", func() bool {
		got := 0
		err := a.attach(t, s.ID(), newClient()).View(func(st *state) { got = st.N })
		return err == nil && got == 5
	})
}

// Of many nodes and clients that claim one session at once, each generation has exactly one winner,
// and all but the last winner are revoked.
func TestConcurrentTakeovers(t *testing.T) {
	e := newEngine(t, nil)
	nodes := make([]*testNode, 3)
	for i := range nodes {
		nodes[i] = newNode(t, e, session.Options[state]{}, natsstore.Options{})
	}
	s := nodes[0].create(t, newClient())
	must(t, s.Detach())
	const each = 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	var holders []*client
	for i := range len(nodes) * each {
		wg.Go(func() {
			c := newClient()
			_, err := nodes[i%len(nodes)].Attach(t.Context(), s.ID(), nil, c)
			if errors.Is(err, session.ErrUnavailable) {
				return // it has lost too often
			}
			if err != nil {
				t.Errorf("Attach: got error %v, want none", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			holders = append(holders, c)
		})
	}
	wg.Wait()
	revoked := func() (n int) {
		for _, c := range holders {
			n += len(c.revoked)
		}
		return n
	}
	waitFor(t, "revocation of all but one", func() bool { return revoked() == len(holders)-1 })
	have := 0
	for _, n := range nodes {
		have += n.Stats().Attached
	}
	if have != 1 {
		t.Errorf("nodes with the session attached: got %d, want 1", have)
	}
}

// A session that is ended by any node is unknown to all.
func TestEnd(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	tests := []struct {
		name string
		end  func(s *session.Session[state]) error
		want error // of the holder's revocation; nil is none
	}{
		{"by its handle", func(s *session.Session[state]) error { return s.End() }, nil},
		{"by its node", func(s *session.Session[state]) error { return a.End(s.ID()) }, session.ErrUnknown},
		{"by another node", func(s *session.Session[state]) error { return b.End(s.ID()) }, session.ErrStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient()
			s := a.create(t, c)
			must(t, tt.end(s))
			if tt.want != nil {
				c.wantRevoked(t, tt.want)
			}
			for name, n := range map[string]*testNode{"a": a, "b": b} {
				waitFor(t, "end at node "+name, func() bool {
					_, err := n.Attach(t.Context(), s.ID(), nil, newClient())
					return err == session.ErrUnknown
				})
			}
			if msg, err := e.last(t, "sessions", s.ID()); err != nil || len(msg.Data) != 0 {
				t.Errorf("last message: got %v and error %v, want a deletion marker", msg, err)
			}
		})
	}
	if err := b.End("unknown"); err != session.ErrUnknown {
		t.Errorf("End of an unknown session: got error %v, want %v", err, session.ErrUnknown)
	}
}

// A node that does not know that a session has ended does not restore it.
func TestOldNodeDoesNotRestore(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	c := newClient()
	s := a.create(t, c)
	resume := a.hook.pause()
	defer resume()
	must(t, b.End(s.ID()))
	waitFor(t, "deletion marker", func() bool {
		msg, err := e.last(t, "sessions", s.ID())
		return err == nil && len(msg.Data) == 0
	})
	set(t, s, 1)
	c.wantRevoked(t, session.ErrUnknown)
}

// Records expire by the server's clock when the session has been detached for its time to live, and
// not while it is attached.
func TestExpiry(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{TTL: time.Minute}, natsstore.Options{})
	detached, attached := a.create(t, newClient()), a.create(t, newClient())
	must(t, detached.Detach(), detached.Unbound().Sync(t.Context()))
	for id, want := range map[string]time.Duration{detached.ID(): time.Minute + time.Second, attached.ID(): 3*time.Minute + time.Second} {
		msg, err := e.last(t, "sessions", id)
		must(t, err)
		got, err := time.ParseDuration(msg.Header.Get("Nats-TTL"))
		if err != nil || got > want || got < want-time.Minute/2 { // it is less by the time since
			t.Errorf("TTL of the record: got %v, %v, want %v or a little less", got, err, want)
		}
	}
	never := newNode(t, e, session.Options[state]{TTL: -1}, natsstore.Options{})
	s := never.create(t, newClient())
	msg, err := e.last(t, "sessions", s.ID())
	must(t, err)
	if got := msg.Header.Get("Nats-TTL"); got != "" {
		t.Errorf("TTL of a record without one: got %s, want none", got)
	}
	// Of a record that no manager removes, which it might do first.
	id := s.ID()[1:] + s.ID()[:1]
	must(t, a.store.Save([]session.Record{{ID: id, Generation: 1, TTL: time.Second}}, nil), a.store.Close())
	waitFor(t, "expiry", func() bool {
		_, err := e.last(t, "sessions", id)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	if _, err := never.Attach(t.Context(), id, nil, newClient()); err != session.ErrUnknown {
		t.Errorf("Attach after the expiry: got error %v, want %v", err, session.ErrUnknown)
	}
	never.attach(t, attached.ID(), newClient())
}

// Nodes whose clocks differ by an hour, which is longer than the time to live of sessions, move
// sessions as others do: neither the age of a session nor its lease depends on the clock of another
// node.
func TestClocksDiffer(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			e := newEngine(t, nil)
			opts := session.Options[state]{TTL: time.Minute}
			a, b := newNode(t, e, opts, natsstore.Options{}), newNode(t, e, opts, natsstore.Options{})
			b.hook.skew = skew
			holder := newClient()
			id := a.create(t, holder).ID()
			for n := range 4 { // attached and detached sessions, from and to the node with the other clock
				from, to := a, b
				if n%2 == 1 {
					from, to = b, a
				}
				next := newClient()
				s := to.attach(t, id, next)
				wantState(t, s, n)
				if n < 2 {
					holder.wantRevoked(t, session.ErrStale)
				}
				set(t, s, n+1)
				if n > 0 {
					must(t, s.Detach())
				}
				if got, want := to.generation(id), uint64(n+2); got != want {
					t.Errorf("generation: got %d, want %d", got, want)
				}
				if st := from.Stats(); st.Attached+st.Detached+int(st.Expired) != 0 {
					t.Errorf("former node: got %+v, want no session and none that has expired", st)
				}
				holder = next
			}
			msg, err := e.last(t, "sessions", id)
			must(t, err)
			if ttl := msg.Header.Get("Nats-TTL"); ttl == "" { // the server counts it
				t.Error("time to live of the record: got none, want one")
			}
		})
	}
}
