package natsstore_test

import (
	"errors"
	"testing"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// newUnsavedRelease returns two nodes. The first one has released a session for the second one, but
// could not save it, and has more generations of it than the second one. The second one has it with
// the state 5.
func newUnsavedRelease(t *testing.T) (e *engine, a, b *testNode, taken *session.Session[state]) {
	t.Helper()
	e = newEngine(t, nil)
	a, b = newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	s := a.create(t, newClient())
	a.hook.fail.Store(true)
	holder := newClient()
	for range 4 { // generations that only this node knows
		holder = newClient()
		s = a.attach(t, s.ID(), holder)
	}
	set(t, s, 99)
	taken = b.attach(t, s.ID(), newClient())
	wantState(t, taken, 0)
	holder.wantRevoked(t, session.ErrStale)
	set(t, taken, 5)
	must(t, taken.Sync(t.Context()))
	return e, a, b, taken
}

// A node that has released a session without saving it, and takes it back, does not save the
// released state over the newer one. Its generation may be the higher one.
func TestUnsavedReleaseAndReturn(t *testing.T) {
	_, a, b, taken := newUnsavedRelease(t)
	id := taken.ID()
	back, err := a.Attach(t.Context(), id, nil, newClient())
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Attach before the released state is saved: got error %v, want %v", err, session.ErrUnavailable)
	}
	a.hook.fail.Store(false)
	if err != nil {
		back = a.attach(t, id, newClient())
	}
	wantState(t, back, 5)
	set(t, back, 6)
	must(t, back.Sync(t.Context()))
	wantState(t, b.attach(t, id, newClient()), 6)
	if got := a.Stats(); got.Moved != 2 || got.Attached != 0 || got.Detached != 0 {
		t.Errorf("first node: got %+v, want 2 moved sessions and no other", got)
	}
}

// A node that has released a session without saving it does not restore it after another node has
// ended it.
func TestUnsavedReleaseAndEnd(t *testing.T) {
	e, a, b, taken := newUnsavedRelease(t)
	must(t, taken.End())
	waitFor(t, "deletion marker", func() bool {
		msg, err := e.last(t, "sessions", taken.ID())
		return err == nil && len(msg.Data) == 0
	})
	a.hook.fail.Store(false)
	waitFor(t, "save", func() bool { return a.create(t, newClient()).Sync(t.Context()) == nil })
	for name, n := range map[string]*testNode{"first": a, "second": b} {
		if _, err := n.Attach(t.Context(), taken.ID(), nil, newClient()); err != session.ErrUnknown {
			t.Errorf("Attach at the %s node: got error %v, want %v", name, err, session.ErrUnknown)
		}
	}
}

// A session that was released and saved later, and that no other node has taken over, leaves
// nothing behind.
func TestUnsavedReleaseAndSave(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{})
	older := newNode(t, e, session.Options[state]{
		Marshal: func(*state) ([]byte, error) { return nil, nil }, Unmarshal: func([]byte, *state) error { return errors.New("newer") },
	}, natsstore.Options{})
	s := a.create(t, newClient())
	a.hook.fail.Store(true)
	set(t, s, 5)
	if _, err := older.Attach(t.Context(), s.ID(), nil, newClient()); err != session.ErrUnknown {
		t.Errorf("Attach at a node that cannot read the state: got error %v, want %v", err, session.ErrUnknown)
	}
	a.hook.fail.Store(false)
	waitFor(t, "save", func() bool { return natsstore.Held(a.store) == 0 })
	wantState(t, a.attach(t, s.ID(), newClient()), 5)
}
