package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseCompare(t *testing.T) {
	for _, c := range []struct {
		args []string
		err  string // "" is no error
	}{
		{[]string{"a", "b"}, ""},
		{[]string{"a", "b", "--work", "churn", "--engines", "goranch", "--rounds", "5"}, ""},
		{[]string{"--work", "churn", "a", "--rounds", "5", "b"}, ""},
		{[]string{"a"}, "want two"},
		{[]string{"a", "b", "c"}, "want two"},
		{[]string{"a", "b", "--rounds", "2"}, "--rounds 2: allowed are 3 or more"},
		{[]string{"a", "b", "--tolerance", "-1"}, "--tolerance -1: allowed are 0 to 1"},
		{[]string{"a", "b", "--work", "nothing"}, `no workload "nothing"`},
	} {
		o, err := parseCompare(c.args, io.Discard)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: got error %v, want %q", c.args, err, c.err)
			}
		case err != nil || strings.Join(o.revisions, " ") != "a b":
			t.Errorf("%v: got revisions %v, error %v; want a, b and no error", c.args, o.revisions, err)
		}
	}
}

func TestCompareExitCodes(t *testing.T) {
	real := commands["compare"]
	defer func() { commands["compare"] = real }()
	for _, c := range []struct {
		err  error
		want int
	}{{nil, 0}, {errSlower, 1}, {errors.New("no such revision"), 2}} {
		commands["compare"] = func([]string) error { return c.err }
		if got := dispatch([]string{"compare"}); got != c.want {
			t.Errorf("error %v: got exit code %d, want %d", c.err, got, c.want)
		}
	}
}

// Both executables are this one, so that only the steps of a comparison are tested, and the verdict
// is any but an error.
func TestCompareAll(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseCompare([]string{"x", "y", "--work", "echo-64-64", "--engines", "goranch", "--rounds", "3",
		"--conns", "4", "--duration", "150ms", "--warmup", "10ms"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := rig{serverCPU: unpinned, loadCPU: unpinned, duration: o.duration, warmup: o.warmup}
	rep := new(report)
	if err := compareAll(ctx, o, r, [2]string{self, self}, rep, newProgress(io.Discard)); err != nil {
		t.Fatal(err)
	}
	if len(rep.Comparisons) != 1 || len(rep.Runs) != 9 || rep.Runs[1].Engine != "goranch@y" || rep.Runs[2].Engine != "goranch@x again" {
		t.Fatalf("got %+v, want one comparison of nine runs", rep)
	}
	var table strings.Builder
	printComparisons(&table, o, rep.Comparisons)
	if c := rep.Comparisons[0]; !c.Change.known() || !c.Noise.known() || !strings.Contains(table.String(), string(c.Verdict)) {
		t.Errorf("got %+v and table\n%s, want intervals and the verdict", c, table.String())
	}

	o.engines = []string{"nats"}
	if err := compareAll(ctx, o, r, [2]string{self, self}, rep, newProgress(io.Discard)); err == nil {
		t.Error("an engine that cannot run the workload: got no error, want one")
	}
	o.engines = []string{"goranch"}
	if err := compareAll(ctx, o, r, [2]string{self, "/does/not/exist"}, rep, newProgress(io.Discard)); err == nil || !strings.Contains(err.Error(), "revision y") {
		t.Errorf("a revision that does not start: got error %v, want one that names it", err)
	}
}

// testRepository returns a repository whose bench prints 1 in the first commit, 2 in the second and
// 3 in the work tree.
func testRepository(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: apt-get install git")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		args = append([]string{"-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"}, args...)
		if _, err := command(t.Context(), dir, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet")
	write("bench/go.mod", "module x\n\ngo 1.26\n")
	for _, text := range []string{"1", "2", "3"} {
		write("bench/main.go", "package main\n\nfunc main() { println("+text+") }\n")
		if text != "3" {
			git("add", ".")
			git("commit", "--quiet", "-m", text)
		}
	}
	return dir
}

func TestBuilder(t *testing.T) {
	repo := testRepository(t)
	b, err := newBuilder(t.Context(), filepath.Join(repo, "bench"), newProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	for rev, want := range map[string]string{"HEAD~1": "1", ".": "3"} {
		exe, err := b.build(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := command(t.Context(), "", exe); got != want || err != nil {
			t.Errorf("%s: got an executable that prints %q, error %v, want %s", rev, got, err, want)
		}
	}
	if _, err := b.build(t.Context(), "no-such-revision"); err == nil || !strings.Contains(err.Error(), `"no-such-revision" does not exist`) {
		t.Errorf("unknown revision: got error %v, want one that names it", err)
	}
	if err := os.WriteFile(filepath.Join(repo, "bench", "main.go"), []byte("package main\n\nfunc main() { x }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.build(t.Context(), "."); err == nil || !strings.Contains(err.Error(), "undefined: x") {
		t.Errorf("a revision that does not compile: got error %v, want the compiler's", err)
	}
	b.remove()
	if trees, err := command(t.Context(), repo, "git", "worktree", "list"); err != nil || strings.Count(trees, "\n") != 0 {
		t.Errorf("after remove: got work trees\n%s, error %v, want only the first", trees, err)
	}
	if _, err := os.Stat(b.dir); !os.IsNotExist(err) {
		t.Errorf("after remove: got error %v for the temporary directory, want that it does not exist", err)
	}
}
