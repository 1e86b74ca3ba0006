package main

import (
	"context"
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
		filepath.Join(dir, "missing"): {`--ban-file "`, "no such file"},
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
	path := "unix:" + filepath.Join(t.TempDir(), "a.sock")
	d := newDaemon(mustParse(t, "--listen", "127.0.0.1:0", "--listen", "web+tcp://127.0.0.1:0", "--admin", path, "--admin-http", "127.0.0.1:0", "--quiet"))
	p := startFunc(t, func(p *program, ctx context.Context) int {
		d.log, d.stdout = newLogger(&p.log, logJSON, &d.logLevel), &p.out
		return d.run(ctx, p.signals)
	})
	p.log.event(t, "serving", nil)
	for _, r := range d.all() {
		if got, want := r.l.Options().Networks != nil, !r.config.Service.isOperators(); got != want {
			t.Errorf("%s: got networks %t, want %t", r.config.Name, got, want)
		}
	}
}
