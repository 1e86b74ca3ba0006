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
		t.Error(diff)
	}
	if diff := cmp.Diff(want, h.entries); diff != "" {
		t.Error(diff)
	}
	if i := again.find("stat", 0); i != 1 || again.At(i) != "stats" {
		t.Errorf("found line %d", i)
	}
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
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
		t.Fatal(h.Len(), err)
	}
	b, _ := os.ReadFile(file)
	if n := strings.Count(string(b), "\n"); n != historyLimit {
		t.Errorf("the file has %d lines, want %d", n, historyLimit)
	}
	if info, _ := os.Stat(file); info.Mode() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
}

func TestHistoryWithoutAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a file")
	os.WriteFile(file, nil, 0o600)
	h, err := openHistory(filepath.Join(file, "history")) // whose directory cannot be
	if err == nil {
		t.Error("no error")
	}
	h.Add("status")
	if h.Len() != 1 {
		t.Error("it keeps nothing in memory either")
	}
}
