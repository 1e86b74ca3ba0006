package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

// half is the store of one of two processes. That of the new process has the records; that of the
// old one passes its saves to the manager of the new one.
type half struct {
	mu      sync.Mutex
	records map[string]session.Record
	manager session.Sharer
	other   *half // nil: there is no other process any more
	old     bool
	claims  []string
	fault   error // of Claim
}

func (h *half) Save(put []session.Record, remove []string) error {
	if h.old && h.other != nil {
		return h.other.manager.Import(context.Background(), put, remove)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range put {
		h.records[r.ID] = r
	}
	for _, id := range remove {
		delete(h.records, id)
	}
	return nil
}

func (h *half) Each(f func(session.Record) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.records {
		if !f(r) {
			break
		}
	}
	return nil
}

func (h *half) Close() error           { return nil }
func (h *half) Share(m session.Sharer) { h.manager = m }
func (h *half) Elsewhere() bool        { return !h.old && h.other != nil }

func (h *half) Claim(ctx context.Context, id string) error {
	h.mu.Lock()
	h.claims = append(h.claims, id)
	fault := h.fault
	h.mu.Unlock()
	if fault != nil {
		return fault
	}
	return h.other.manager.Release(ctx, id)
}

func (h *half) record(id string) (r session.Record, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok = h.records[id]
	return r, ok
}

// halves are an old process, whose store the new one has taken, and the new one.
type halves struct {
	oldStore, newStore *half
	oldM, newM         *session.Manager[state]
}

// handOver hands the store of an old process to a new one. before is called with the old manager.
func handOver(t *testing.T, opts session.Options[state], before func(*session.Manager[state])) halves {
	t.Helper()
	oldStore := &half{records: map[string]session.Record{}, old: true}
	opts.Store = oldStore
	oldM := newManager(t, opts)
	before(oldM)
	newStore := &half{records: oldStore.records, other: oldStore}
	opts.Store = newStore
	newM := newManager(t, opts)
	oldStore.other = newStore
	return halves{oldStore, newStore, oldM, newM}
}

func syncSession(t *testing.T, s *session.Session[state]) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, s *session.Session[state]) (n int) {
	t.Helper()
	if err := s.View(func(st *state) { n = st.N }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A session that is attached in the old process is claimed by an Attach in the new one, with what
// has changed since the hand-over.
func TestClaim(t *testing.T) {
	holder := newClient()
	var s *session.Session[state]
	ended := make(chan string, 1)
	h := handOver(t, session.Options[state]{OnEnd: func(s *session.Session[state]) { ended <- s.ID() }}, func(m *session.Manager[state]) {
		s = create(t, m, holder)
		syncSession(t, s)
	})
	if err := s.Do(func(st *state) { st.N = 7 }); err != nil {
		t.Fatal(err)
	}
	taken := attach(t, h.newM, s.ID(), newClient())
	if got := value(t, taken); got != 7 {
		t.Errorf("state: got %d, want 7", got)
	}
	if got := <-holder.revoked; got.by != nil || got.err != session.ErrStale {
		t.Errorf("revoked: got %v, want ErrStale by no address", got)
	}
	if err := s.Do(func(*state) {}); err == nil {
		t.Error("former session: got no error, want one")
	}
	if got := <-ended; got != s.ID() {
		t.Errorf("OnEnd in the old process: got %s, want %s", got, s.ID())
	}
	if got := h.oldM.Stats(); got.Attached != 0 || got.Detached != 0 {
		t.Errorf("sessions of the old process: got %+v, want none", got)
	}
	syncSession(t, taken)
	if r, ok := h.newStore.record(s.ID()); !ok || r.Generation != 2 || !r.Attached {
		t.Errorf("record: got %+v (%v), want generation 2, attached", r, ok)
	}
	attach(t, h.newM, s.ID(), newClient())
	if diff := cmp.Diff([]string{s.ID()}, h.newStore.claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// When a session detaches in the old process, the new one has its last state without a claim.
func TestDetachInTheOldProcess(t *testing.T) {
	var s *session.Session[state]
	h := handOver(t, session.Options[state]{}, func(m *session.Manager[state]) {
		s = create(t, m, newClient())
		syncSession(t, s)
	})
	s.Do(func(st *state) { st.N = 8 })
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if err := h.oldM.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := attach(t, h.newM, s.ID(), newClient())
	if got := value(t, taken); got != 8 || len(h.newStore.claims) != 0 {
		t.Errorf("got state %d and claims %v, want 8 and none", got, h.newStore.claims)
	}
}

// A session that was created in the old process after the hand-over is known to the new one.
func TestCreateInTheOldProcess(t *testing.T) {
	h := handOver(t, session.Options[state]{}, func(*session.Manager[state]) {})
	s := create(t, h.oldM, newClient())
	taken := attach(t, h.newM, s.ID(), newClient())
	if taken.ID() != s.ID() {
		t.Errorf("id: got %s, want %s", taken.ID(), s.ID())
	}
	if err := s.End(); err == nil {
		t.Error("former session: got no error of End, want one")
	}
	syncSession(t, taken)
}

// What the old process saves late does not change a session that the new one has attached.
func TestLateSavesAreIgnored(t *testing.T) {
	var s *session.Session[state]
	h := handOver(t, session.Options[state]{}, func(m *session.Manager[state]) {
		s = create(t, m, newClient())
		s.Do(func(st *state) { st.N = 1 })
		syncSession(t, s)
	})
	s.Detach()
	taken := attach(t, h.newM, s.ID(), newClient())
	taken.Do(func(st *state) { st.N = 2 })
	late := session.Record{ID: s.ID(), Generation: 1, Created: time.Now(), State: []byte(`{"N":3}`)}
	if err := h.newStore.manager.Import(t.Context(), []session.Record{late}, []string{s.ID()}); err != nil {
		t.Fatal(err)
	}
	if got := value(t, taken); got != 2 {
		t.Errorf("state: got %d, want 2", got)
	}
}

// An old process that does not answer costs the changes since the hand-over, and not the session.
func TestClaimFails(t *testing.T) {
	var s *session.Session[state]
	errs := make(chan error, 8)
	h := handOver(t, session.Options[state]{OnError: func(err error) { errs <- err }}, func(m *session.Manager[state]) {
		s = create(t, m, newClient())
		s.Do(func(st *state) { st.N = 1 })
		syncSession(t, s)
	})
	h.newStore.fault = errors.New("no answer")
	taken := attach(t, h.newM, s.ID(), newClient())
	if got := value(t, taken); got != 1 {
		t.Errorf("state: got %d, want 1", got)
	}
	if err := <-errs; !errors.Is(err, h.newStore.fault) {
		t.Errorf("OnError: got %v, want %v", err, h.newStore.fault)
	}
}

// Sessions that the old process has do not expire and are not evicted in the new one, until the old
// one has ended.
func TestSessionsElsewhereStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := session.Options[state]{MaxPerAddress: 2, TTL: time.Minute}
		h := handOver(t, opts, func(m *session.Manager[state]) {
			for range 5 {
				syncSession(t, create(t, m, newClient()))
			}
		})
		time.Sleep(4 * opts.TTL)
		if got := len(h.newM.List()); got != 5 {
			t.Fatalf("sessions: got %d, want 5", got)
		}
		for _, i := range h.newM.List() {
			if !i.Attached || !i.Expires.IsZero() {
				t.Errorf("session of the old process: got %+v, want it attached", i)
			}
		}
		h.newStore.other = nil
		h.newStore.manager.Orphaned()
		if got := len(h.newM.List()); got != 5 {
			t.Errorf("sessions at the end of the old process: got %d, want 5", got)
		}
		time.Sleep(opts.TTL + 2*time.Second)
		if got := len(h.newM.List()); got != 0 {
			t.Errorf("sessions after their TTL: got %d, want 0", got)
		}
	})
}

// End ends a session in both processes.
func TestEndElsewhere(t *testing.T) {
	holder := newClient()
	var s *session.Session[state]
	h := handOver(t, session.Options[state]{}, func(m *session.Manager[state]) {
		s = create(t, m, holder)
		syncSession(t, s)
	})
	if err := h.newM.End(s.ID()); err != nil {
		t.Fatal(err)
	}
	<-holder.revoked
	if _, err := h.newM.Attach(t.Context(), s.ID(), addr(3), newClient()); err != session.ErrUnknown {
		t.Errorf("Attach: got %v, want ErrUnknown", err)
	}
}

// A session that ends in the old process ends in the new one.
func TestEndInTheOldProcess(t *testing.T) {
	var s *session.Session[state]
	h := handOver(t, session.Options[state]{}, func(m *session.Manager[state]) {
		s = create(t, m, newClient())
		syncSession(t, s)
	})
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	if err := h.oldM.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(h.newM.List()); got != 0 {
		t.Errorf("sessions of the new process: got %d, want 0", got)
	}
}

// Records that cannot be read are refused, and the others are imported.
func TestImportRefuses(t *testing.T) {
	h := handOver(t, session.Options[state]{}, func(*session.Manager[state]) {})
	err := h.newStore.manager.Import(t.Context(), []session.Record{
		{ID: "bad", Generation: 1, State: []byte("no JSON")}, {ID: "", Generation: 1, State: []byte("{}")}, {ID: "good", Generation: 1, State: []byte(`{"N":5}`)},
	}, []string{"unknown"})
	if err == nil {
		t.Error("got no error, want one")
	}
	if got := value(t, attach(t, h.newM, "good", newClient())); got != 5 {
		t.Errorf("state: got %d, want 5", got)
	}
	if got := len(h.newM.List()); got != 1 {
		t.Errorf("sessions: got %d, want 1", got)
	}
	if err := h.newStore.manager.Release(t.Context(), "unknown"); err != nil {
		t.Errorf("release of an unknown session: got %v, want nil", err)
	}
}
