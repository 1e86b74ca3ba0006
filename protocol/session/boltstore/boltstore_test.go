package boltstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
)

func open(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func do(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func all(t testing.TB, s *boltstore.Store) map[string]session.Record {
	t.Helper()
	m := map[string]session.Record{}
	do(t, s.Each(func(r session.Record) bool {
		r.State = bytes.Clone(r.State)
		m[r.ID] = r
		return true
	}))
	return m
}

func TestRecordsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path)
	when := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	a := session.Record{ID: "1", Generation: 1 << 63, Created: when, Seen: when.Add(1), Attached: true, State: []byte("{}")}
	b := session.Record{ID: "2", Created: when, Seen: when.Add(-1e18)}
	gone := session.Record{ID: "3", Created: when, Seen: when}
	do(t, s.Save([]session.Record{a, b, gone}, nil), s.Save(nil, []string{"3", "never there"}), s.Close())
	s = open(t, path)
	if diff := cmp.Diff(map[string]session.Record{"1": a, "2": b}, all(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	r, err := s.Load("1")
	if diff := cmp.Diff(a, r); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := s.Load("3"); err != session.ErrUnknown {
		t.Errorf("Load of one that is gone: %v", err)
	}
	n := 0
	do(t, s.Each(func(session.Record) bool { n++; return false }))
	if n != 1 {
		t.Errorf("Each went on: %d", n)
	}
	do(t, s.Close())
	if err := s.Save([]session.Record{a}, nil); err != boltstore.ErrClosed {
		t.Errorf("Save when closed: %v", err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	do(t, open(t, good).Close())
	page, err := os.ReadFile(good)
	do(t, err)
	if info, _ := os.Stat(good); info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	damaged := bytes.Clone(page)
	for i := range 2 * os.Getpagesize() {
		damaged[i] ^= 0x55
	}
	write := func(name string, b []byte, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		do(t, os.WriteFile(path, b, 0o600), os.Chmod(path, mode))
		return path
	}
	held := filepath.Join(dir, "held")
	open(t, held)
	tests := []struct {
		path string
		want error
	}{
		{held, boltstore.ErrLocked},
		{write("text", []byte("no database\n"), 0o600), boltstore.ErrCorrupt},
		{write("zeros", make([]byte, 1<<16), 0o600), boltstore.ErrCorrupt},
		{write("damaged", damaged, 0o600), boltstore.ErrCorrupt},
		{write("short", page[:os.Getpagesize()+100], 0o600), boltstore.ErrCorrupt},
		{write("cut", page[:2*os.Getpagesize()], 0o600), boltstore.ErrCorrupt},
		{write("others may read", page, 0o640), fs.ErrPermission},
		{filepath.Join(dir, "none", "s.db"), fs.ErrNotExist},
	}
	for _, tt := range tests {
		s, err := boltstore.Open(tt.path, boltstore.Options{LockTimeout: -1})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", filepath.Base(tt.path), err, tt.want)
		}
		if err == nil {
			s.Close()
		} else {
			t.Log(err)
		}
	}
}

type state struct{ Dir string }

type nobody struct{ session.Holder }

func (nobody) Deliver([]byte) error { return nil }

func TestSessionsOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	m, err := session.New(session.Options[state]{Store: open(t, path)})
	do(t, err)
	l, err := m.Create(t.Context(), nil, nobody{}, state{"/"})
	do(t, err, l.Do(func(s *state) { s.Dir = "/tmp" }), m.Close(t.Context()))
	m, err = session.New(session.Options[state]{Store: open(t, path)})
	do(t, err)
	defer m.Close(t.Context())
	l, err = m.Attach(t.Context(), l.ID(), nil, nobody{})
	do(t, err)
	do(t, l.View(func(s *state) {
		if s.Dir != "/tmp" || l.Generation() != 2 {
			t.Errorf("%+v, generation %d", s, l.Generation())
		}
	}))
}
