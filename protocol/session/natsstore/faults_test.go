package natsstore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/session"
	"goranch/protocol/session/natsstore"
)

// While the server is away new sessions are refused with an error, and sessions continue; they are
// saved when it is there again.
func TestServerRestarts(t *testing.T) {
	e := newEngine(t, nil)
	var reported atomic.Int64
	opts := session.Options[state]{OnError: func(error) { reported.Add(1) }}
	a, b := newNode(t, e, opts, natsstore.Options{}), newNode(t, e, opts, natsstore.Options{})
	c := newClient()
	s, gone := a.create(t, c), a.create(t, newClient())
	e.stop()
	waitFor(t, "end of the connection", func() bool { return !a.nc.IsConnected() && !b.nc.IsConnected() })
	set(t, s, 3)
	for range 3 {
		if _, err := a.Create(t.Context(), nil, newClient(), state{}); err == nil || !strings.Contains(err.Error(), "no connection") {
			t.Errorf("Create: got error %v, want one about the connection", err)
		}
	}
	if err := s.Sync(t.Context()); err == nil {
		t.Error("Sync: got no error, want one")
	}
	if _, err := b.Attach(t.Context(), s.ID(), addr, newClient()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Attach at another node: got error %v, want %v", err, session.ErrUnavailable)
	}
	if err := b.End(s.ID()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("End at another node: got error %v, want %v", err, session.ErrUnavailable)
	}
	second := newClient()
	s = a.attach(t, s.ID(), second) // at the node that has it
	c.wantRevoked(t, session.ErrStale)
	must(t, gone.End())
	if got := reported.Load(); got != 1 {
		t.Errorf("reported errors: got %d, want 1", got)
	}
	e.start(t)
	waitFor(t, "save", func() bool { return s.Sync(t.Context()) == nil && b.nc.IsConnected() })
	taken := b.attach(t, s.ID(), newClient())
	wantState(t, taken, 3)
	second.wantRevoked(t, session.ErrStale)
	if got := b.generation(s.ID()); got != 3 {
		t.Errorf("generation: got %d, want 3", got)
	}
	waitFor(t, "end of the session that was ended meanwhile", func() bool {
		_, err := b.Attach(t.Context(), gone.ID(), nil, newClient())
		return err == session.ErrUnknown
	})
}

// A node that was cut off while another one took its session over learns it after the reconnection,
// without a change of the session.
func TestReconnection(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	c := newClient()
	s := a.create(t, c)
	restore := a.cutOff(t)
	b.attach(t, s.ID(), newClient())
	restore()
	c.wantRevoked(t, session.ErrStale)
}

// When the bucket is deleted, the sessions of the nodes are saved in a new one.
func TestDeletedBucket(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	s, idle := a.create(t, newClient()), a.create(t, newClient())
	js, err := jetstream.New(b.nc)
	must(t, err, js.DeleteStream(t.Context(), "KV_sessions"))
	if _, err := b.Attach(t.Context(), s.ID(), nil, newClient()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Attach without a bucket: got error %v, want %v", err, session.ErrUnavailable)
	}
	set(t, s, 4)
	waitFor(t, "save", func() bool { return s.Sync(t.Context()) == nil && idle.Sync(t.Context()) == nil })
	wantState(t, b.attach(t, s.ID(), newClient()), 4)
	wantState(t, b.attach(t, idle.ID(), newClient()), 0)
}

// A bucket that is full refuses new sessions; sessions can be ended, and then others be created.
func TestFullBucket(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{MaxBytes: 1500})
	var made []*session.Session[state]
	var err error
	for len(made) < 100 && err == nil {
		var s *session.Session[state]
		if s, err = a.Create(t.Context(), nil, newClient(), state{}); err == nil {
			made = append(made, s)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "maximum bytes") || len(made) == 0 {
		t.Fatalf("after %d sessions: got error %v, want one about the maximum bytes", len(made), err)
	}
	set(t, made[1], 1e18)
	if err := made[1].Sync(t.Context()); err == nil || !strings.Contains(err.Error(), "maximum bytes") {
		t.Errorf("Sync of a session that has grown: got error %v, want one about the maximum bytes", err)
	}
	set(t, made[0], 1)
	must(t, made[0].Sync(t.Context())) // replaces a record of the same size
	for _, s := range made {
		must(t, s.End())
	}
	waitFor(t, "space", func() bool {
		_, err = a.Create(t.Context(), nil, newClient(), state{})
		return err == nil
	})
}

// The permissions in docs/cluster.md are enough, and without them the error of Open says so.
func TestPermissions(t *testing.T) {
	e := newEngine(t, func(o *server.Options) {
		allow := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
		o.Users = []*server.User{
			{Username: "no", Password: "p", Permissions: &server.Permissions{Publish: allow("other")}},
			{Username: "yes", Password: "p", Permissions: &server.Permissions{
				Publish: allow("$KV.sessions.>", "$JS.API.STREAM.INFO.KV_sessions", "$JS.API.STREAM.CREATE.KV_sessions",
					"$JS.API.STREAM.MSG.GET.KV_sessions", "goranch.sessions.sessions.*"),
				Subscribe: allow("goranch.sessions.sessions.*", "_INBOX.>"), Response: &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
			}},
		}
	})
	connect := func(user string) *nats.Conn {
		return e.connect(t, nats.UserInfo(user, "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	}
	_, err := natsstore.Open(t.Context(), connect("no"), natsstore.Options{Timeout: 100 * time.Millisecond})
	if !errors.Is(err, nats.ErrPermissionViolation) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open: got error %v, want %v", err, nats.ErrPermissionViolation)
	}
	node := func() *session.Manager[state] {
		store, err := natsstore.Open(t.Context(), connect("yes"), natsstore.Options{})
		must(t, err)
		m, err := session.New(session.Options[state]{Store: store})
		must(t, err)
		t.Cleanup(func() { must(t, m.Close(context.Background())) })
		return m
	}
	a, b := node(), node()
	c := newClient()
	s, err := a.Create(t.Context(), nil, c, state{})
	must(t, err)
	set(t, s, 1)
	taken, err := b.Attach(t.Context(), s.ID(), nil, newClient())
	must(t, err)
	c.wantRevoked(t, session.ErrStale)
	wantState(t, taken, 1)
	must(t, taken.End())
}

// A state that is too large is an error of its session only.
func TestStateTooLarge(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{MaxState: 20})
	s, other := a.create(t, newClient()), a.create(t, newClient())
	set(t, s, 1e18)
	set(t, other, 2)
	if err := s.Sync(t.Context()); !errors.Is(err, session.ErrStateTooLarge) {
		t.Errorf("Sync: got error %v, want %v", err, session.ErrStateTooLarge)
	}
	must(t, other.Sync(t.Context()))
	if _, err := a.Create(t.Context(), nil, newClient(), state{1e18}); !errors.Is(err, session.ErrStateTooLarge) {
		t.Errorf("Create: got error %v, want %v", err, session.ErrStateTooLarge)
	}
	set(t, s, 3)
	must(t, s.Sync(t.Context()))
}

// A node that cannot read the state of a session, such as one of an older version, does not take
// it.
func TestUnreadableState(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{})
	var reported atomic.Int64
	older := newNode(t, e, session.Options[state]{
		Marshal: func(*state) ([]byte, error) { return nil, nil }, Unmarshal: func([]byte, *state) error { return errors.New("newer") },
		OnError: func(error) { reported.Add(1) },
	}, natsstore.Options{})
	s := a.create(t, newClient())
	set(t, s, 5)
	if _, err := older.Attach(t.Context(), s.ID(), nil, newClient()); err != session.ErrUnknown || reported.Load() != 1 {
		t.Errorf("Attach: got error %v and %d reported, want %v and 1", err, reported.Load(), session.ErrUnknown)
	}
	wantState(t, a.attach(t, s.ID(), newClient()), 5)
}

// An id that a session of another node has is not used again.
func TestIDsAreUnique(t *testing.T) {
	e := newEngine(t, nil)
	opts := session.Options[state]{NewID: session.DJBID}
	a, b := newNode(t, e, opts, natsstore.Options{}), newNode(t, e, opts, natsstore.Options{})
	first, err := a.Create(t.Context(), addr, newClient(), state{1})
	must(t, err)
	second, err := b.Create(t.Context(), addr, newClient(), state{2})
	must(t, err)
	if first.ID() == second.ID() {
		t.Errorf("ids: got %s twice, want two", first.ID())
	}
	wantState(t, b.attach(t, first.ID(), newClient()), 1)
	if got := b.Stats().Attached; got != 2 {
		t.Errorf("attached: got %d, want 2", got)
	}
	// The id of a session that has ended can be used again.
	must(t, b.End(first.ID()))
	waitFor(t, "id of the ended session", func() bool {
		s, err := a.Create(t.Context(), addr, newClient(), state{})
		return err == nil && s.ID() == first.ID()
	})
}

// A node refuses sessions of others beyond Options.Max, and unknown ids count against an address.
func TestLimits(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{Max: 1}, natsstore.Options{})
	s, own := a.create(t, newClient()), b.create(t, newClient())
	if _, err := b.Attach(t.Context(), s.ID(), addr, newClient()); !errors.Is(err, session.ErrTooMany) {
		t.Errorf("Attach beyond Max: got error %v, want %v", err, session.ErrTooMany)
	}
	must(t, own.End())
	var err error
	for range 100 {
		if _, err = b.Attach(t.Context(), "unknown", addr, newClient()); err != session.ErrUnknown {
			break
		}
	}
	if !errors.Is(err, session.ErrTooMany) {
		t.Errorf("Attach to unknown sessions: got error %v, want %v", err, session.ErrTooMany)
	}
	if got := b.Stats().Detached; got != 0 {
		t.Errorf("detached: got %d, want 0", got)
	}
}

// Neither the key nor the value of a record contains the id.
func TestRecordsDoNotContainIDs(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{Node: "a"})
	s := a.create(t, newClient())
	msg, err := e.last(t, "sessions", s.ID())
	must(t, err)
	if id := []byte(s.ID()); bytes.Contains(msg.Data, id) || strings.Contains(msg.Subject, s.ID()) || !bytes.Contains(msg.Data, []byte("a.")) {
		t.Errorf("message: got subject %s and data %q, want the node and not the id %s", msg.Subject, msg.Data, s.ID())
	}
}

// A bucket that is deleted is created again although no node has a change to save, and the sessions
// of all nodes are in it, also those that do not change. Until then no client hears that its
// session is unknown.
func TestDeletedBucketWithoutChanges(t *testing.T) {
	e := newEngine(t, nil)
	a, b := newNode(t, e, session.Options[state]{}, natsstore.Options{}), newNode(t, e, session.Options[state]{}, natsstore.Options{})
	idle, detached := a.create(t, newClient()), a.create(t, newClient())
	set(t, detached, 3)
	must(t, detached.Detach())
	waitFor(t, "save", func() bool { return detached.Unbound().Sync(t.Context()) == nil })
	js, err := jetstream.New(b.nc)
	must(t, err, js.DeleteStream(t.Context(), "KV_sessions"))
	for id, want := range map[string]int{idle.ID(): 0, detached.ID(): 3} {
		var s *session.Session[state]
		waitFor(t, "takeover", func() bool {
			if s, err = b.Attach(t.Context(), id, nil, newClient()); err != nil && !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("Attach after the deletion: got error %v, want %v", err, session.ErrUnavailable)
			}
			return err == nil || t.Failed()
		})
		if !t.Failed() {
			wantState(t, s, want)
		}
	}
	// What nobody has is unavailable for a while, and unknown later.
	if _, err := b.Attach(t.Context(), "unknown", nil, newClient()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Attach to an unknown session in a new bucket: got error %v, want %v", err, session.ErrUnavailable)
	}
	natsstore.Settle(b.store)
	if _, err := b.Attach(t.Context(), "unknown", nil, newClient()); err != session.ErrUnknown {
		t.Errorf("Attach to an unknown session later: got error %v, want %v", err, session.ErrUnknown)
	}
}

// A bucket is created again although no node has a session.
func TestDeletedBucketWithoutSessions(t *testing.T) {
	e := newEngine(t, nil)
	a := newNode(t, e, session.Options[state]{}, natsstore.Options{})
	js, err := jetstream.New(a.nc)
	must(t, err, js.DeleteStream(t.Context(), "KV_sessions"))
	waitFor(t, "bucket", func() bool {
		_, err := js.Stream(t.Context(), "KV_sessions")
		return err == nil
	})
}
