package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "ranchctl", "history")
	h, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"status", "status", "auth:secret", "auth secret", " AUTH:secret", " private", "", "stats", "status "} {
		h.Add(line)
	}
	again, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"status", "stats", "status"}
	if diff := cmp.Diff(want, again.entries); diff != "" {
		t.Errorf("entries of the file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, h.entries); diff != "" {
		t.Errorf("entries in memory (-want +got):\n%s", diff)
	}
	if i := again.find("stat", 0); i != 1 || again.At(i) != "stats" {
		t.Errorf("find: got line %d, want 1", i)
	}
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("mode of %s: got %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
}

func TestHistoryLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	var all strings.Builder
	for n := range 2*historyLimit + 1 {
		fmt.Fprintf(&all, "echo %d\n", n)
	}
	if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := openHistory(file)
	if err != nil || h.Len() != historyLimit || h.At(0) != fmt.Sprint("echo ", 2*historyLimit) {
		t.Fatalf("got %d lines, the last %q, %v, want %d", h.Len(), h.At(0), err, historyLimit)
	}
	b, _ := os.ReadFile(file)
	if n := strings.Count(string(b), "\n"); n != historyLimit {
		t.Errorf("lines of the file: got %d, want %d", n, historyLimit)
	}
	if info, _ := os.Stat(file); info.Mode() != 0o600 {
		t.Errorf("mode of the file: got %v, want 0600", info.Mode())
	}
}

func TestHistoryWithoutFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a file")
	os.WriteFile(file, nil, 0o600)
	h, err := openHistory(filepath.Join(file, "history")) // its directory is a file
	if err == nil {
		t.Error("got no error, want one")
	}
	h.Add("status")
	if h.Len() != 1 {
		t.Errorf("lines in memory: got %d, want 1", h.Len())
	}
}
