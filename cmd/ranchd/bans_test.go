package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Invalid ban files are faults of the configuration.
func TestBanFileFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bans")
	if err := os.WriteFile(file, []byte("10.0.0.0/8\nx\n10.0.0.0/40\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		file:                          {`line 2: network "x": allowed are networks`, `line 3: network "10.0.0.0/40"`},
		filepath.Join(dir, "missing"): {"--ban-file: rules", "no such file"},
		dir:                           {"not a regular file"},
	} {
		var stderr strings.Builder
		_, code, done := parse([]string{"--ban-file", path}, &stderr, &stderr)
		if !done || code != exitUsage {
			t.Errorf("%s: got exit code %d, want %d", path, code, exitUsage)
		}
		for _, w := range want {
			if !strings.Contains(stderr.String(), w) {
				t.Errorf("%s: got %s, want %q", path, &stderr, w)
			}
		}
	}
}

// The rules apply to all listeners but those of operators.
func TestBansDoNotApplyToOperators(t *testing.T) {
	c := mustParse(t)
	for _, e := range c.Endpoints {
		if got, want := c.options(e).Networks != nil, !e.Service.isOperators(); got != want {
			t.Errorf("%s: got networks %t, want %t", e.Name, got, want)
		}
	}
}
