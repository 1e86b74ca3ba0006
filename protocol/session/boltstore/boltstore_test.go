package boltstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
)

func openStore(t testing.TB, path string) session.Store {
	t.Helper()
	s, err := boltstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// must stops the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func records(t testing.TB, s session.Store) map[string]session.Record {
	t.Helper()
	m := map[string]session.Record{}
	must(t, s.Each(func(r session.Record) bool {
		r.State = bytes.Clone(r.State)
		m[r.ID] = r
		return true
	}))
	return m
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := openStore(t, path)
	when := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	a := session.Record{ID: "1", Generation: 1 << 63, Created: when, Seen: when.Add(1), Attached: true, State: []byte("{}")}
	b := session.Record{ID: "2", Created: when, Seen: when.Add(-1e18)}
	removed := session.Record{ID: "3", Created: when, Seen: when}
	must(t, s.Save([]session.Record{a, b, removed}, nil), s.Save(nil, []string{"3", "unknown"}), s.Close())
	s = openStore(t, path)
	if diff := cmp.Diff(map[string]session.Record{"1": a, "2": b}, records(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	n := 0
	must(t, s.Each(func(session.Record) bool { n++; return false }))
	if n != 1 {
		t.Errorf("Each after false: got %d calls, want 1", n)
	}
	must(t, s.Close())
	if err := s.Save([]session.Record{a}, nil); err != boltstore.ErrClosed {
		t.Errorf("Save after Close: got error %v, want %v", err, boltstore.ErrClosed)
	}
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	must(t, openStore(t, good).Close())
	page, err := os.ReadFile(good)
	must(t, err)
	if info, _ := os.Stat(good); info.Mode().Perm() != 0o600 {
		t.Errorf("new file: got mode %v, want 0600", info.Mode())
	}
	damaged := bytes.Clone(page)
	for i := range 2 * os.Getpagesize() {
		damaged[i] ^= 0x55
	}
	write := func(name string, b []byte, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, b, 0o600), os.Chmod(path, mode))
		return path
	}
	locked := filepath.Join(dir, "locked")
	openStore(t, locked)
	tests := []struct {
		path string
		want error
	}{
		{locked, boltstore.ErrLocked},
		{write("text", []byte("text\n"), 0o600), boltstore.ErrCorrupt},
		{write("zeros", make([]byte, 1<<16), 0o600), boltstore.ErrCorrupt},
		{write("damaged", damaged, 0o600), boltstore.ErrCorrupt},
		{write("short", page[:os.Getpagesize()+100], 0o600), boltstore.ErrCorrupt},
		{write("truncated", page[:2*os.Getpagesize()], 0o600), boltstore.ErrCorrupt},
		{write("group-readable", page, 0o640), fs.ErrPermission},
		{filepath.Join(dir, "none", "s.db"), fs.ErrNotExist},
	}
	for _, tt := range tests {
		s, err := boltstore.OpenAtOnce(tt.path)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got error %v, want %v", filepath.Base(tt.path), err, tt.want)
		}
		if err == nil {
			s.Close()
		}
	}
}

type state struct{ Dir string }

// discard is a Holder that accepts all output.
type discard struct{}

func (discard) Deliver([]byte, int) error { return nil }
func (discard) Revoked(net.Addr, error)   {}

func TestSessionsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	m, err := session.New(session.Options[state]{Store: openStore(t, path)})
	must(t, err)
	s, err := m.Create(t.Context(), nil, discard{}, state{"/"})
	must(t, err, s.Do(func(s *state) { s.Dir = "/tmp" }), m.Close(t.Context()))
	m, err = session.New(session.Options[state]{Store: openStore(t, path)})
	must(t, err)
	defer m.Close(t.Context())
	s, err = m.Attach(t.Context(), s.ID(), nil, discard{})
	must(t, err)
	must(t, s.View(func(s *state) {
		if s.Dir != "/tmp" {
			t.Errorf("got directory %q, want /tmp", s.Dir)
		}
	}))
	if got := m.List()[0].Generation; got != 2 {
		t.Errorf("got generation %d, want 2", got)
	}
}
