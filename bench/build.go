package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// removeTimeout is how long the removal of the work trees may take.
const removeTimeout = 30 * time.Second

// builder builds bench at revisions of the repository, each in a work tree of its own within a
// temporary directory.
type builder struct {
	repo  string // root of the repository
	dir   string
	trees []string
	p     *progress
}

// newBuilder returns a builder for the repository that contains a directory.
func newBuilder(ctx context.Context, within string, p *progress) (*builder, error) {
	root, err := command(ctx, within, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("run compare within the repository: %w", err)
	}
	dir, err := os.MkdirTemp("", "bench-compare-*")
	if err != nil {
		return nil, err
	}
	return &builder{repo: root, dir: dir, p: p}, nil
}

// build returns the executable of a revision; "." is the repository's work tree as it is.
func (b *builder) build(ctx context.Context, rev string) (exe string, err error) {
	tree := b.repo
	if rev != "." {
		commit, err := command(ctx, b.repo, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
		if err != nil {
			return "", fmt.Errorf("revision %q does not exist: git log shows which do", rev)
		}
		tree = filepath.Join(b.dir, "tree"+strconv.Itoa(len(b.trees)))
		b.trees = append(b.trees, tree)
		if _, err := command(ctx, b.repo, "git", "worktree", "add", "--detach", "--quiet", tree, commit); err != nil {
			return "", err
		}
	}
	bench := filepath.Join(tree, "bench")
	if _, err := os.Stat(bench); err != nil {
		return "", fmt.Errorf("revision %q has no bench: %w", rev, err)
	}
	b.p.note("building bench at %s", rev)
	exes, _ := filepath.Glob(filepath.Join(b.dir, "bench-*"))
	exe = filepath.Join(b.dir, "bench-"+strconv.Itoa(len(exes)))
	// Without -trimpath and with -buildvcs, the same code would be built into different
	// executables.
	if _, err := command(ctx, bench, "go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "."); err != nil {
		return "", fmt.Errorf("revision %q: %w", rev, err)
	}
	return exe, nil
}

// remove removes the work trees and executables, also after an interrupt.
func (b *builder) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	var errs []error
	for _, tree := range b.trees {
		_, err := command(ctx, b.repo, "git", "worktree", "remove", "--force", tree)
		errs = append(errs, err)
	}
	errs = append(errs, os.RemoveAll(b.dir))
	if err := errors.Join(errs...); err != nil {
		b.p.note("remove %s and run git worktree prune: %v", b.dir, err)
	}
}

// command runs a program in a directory and returns what it printed, without the last line feed.
func command(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, oneLine(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// oneLine returns the last lines of a program's output for an error.
func oneLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
