package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/shell"
	"goranch/transport"
)

// shellConfig configures the public shell.
type shellConfig struct {
	Root     string // "" disables cd and ls
	Programs []shell.Program
	NewID    func(net.Addr) (string, error) // of session ids; nil for random ids
}

// shellConfig reads the flags of the public shell.
func (f *flags) shellConfig(all *faults) shellConfig {
	c := shellConfig{Root: f.ShellRoot}
	if c.Root == "none" {
		c.Root = ""
	} else if !isDir(c.Root) {
		all.add("--shell-root %q: no such directory; allowed are directories, and none", f.ShellRoot)
	}
	for _, s := range f.Program {
		c.Programs = append(c.Programs, read(all, "--program", s, parseProgram))
	}
	if read(all, "--session-ids", f.SessionIDs, oneOf("random and djb", map[string]bool{"random": false, "djb": true})) {
		c.NewID = session.DJBID
	}
	return c
}

// parseProgram reads "NAME=PATH [ARG...] [*]".
func parseProgram(s string) (p shell.Program, err error) {
	name, line, ok := strings.Cut(s, "=")
	words := strings.Fields(line)
	if !ok || len(words) == 0 {
		return p, errors.New("allowed are NAME=PATH, followed by arguments, and by * if clients may append arguments")
	}
	p = shell.Program{Name: name, Path: words[0], Args: words[1:], Role: shell.Viewer}
	if n := len(p.Args); n > 0 && p.Args[n-1] == "*" {
		p.Args, p.Allow = p.Args[:n-1], shell.NoFlags
	}
	if !filepath.IsAbs(p.Path) {
		return p, fmt.Errorf("%q is not an absolute path", p.Path)
	}
	if _, err := exec.LookPath(p.Path); err != nil {
		return p, err
	}
	return p, nil
}

// sessionConfig configures the sessions of the public shell and of the topic server.
type sessionConfig struct {
	TTL time.Duration
	Max int
	// MaxPerAddress and MaxBytesPerAddress limit the detached sessions of a source address.
	MaxPerAddress, MaxBytesPerAddress int
}

// sessionConfig reads the flags of sessions.
func (f *flags) sessionConfig(all *faults) sessionConfig {
	c := sessionConfig{
		TTL:           orNoTimeout(read(all, "--session-ttl", f.SessionTTL, positive)),
		Max:           read(all, "--max-sessions", f.MaxSessions, maxSessions),
		MaxPerAddress: read(all, "--max-sessions-per-address", f.MaxSessionsPerAddress, maxSessions),
	}
	if c.MaxPerAddress == transport.NoLimit {
		c.MaxBytesPerAddress = transport.NoLimit
	}
	return c
}

// stateDir returns the directory of the sessions that survive a restart; "" is none.
func (f *flags) stateDir(all *faults) string {
	dir := cmp.Or(f.State, os.Getenv("STATE_DIRECTORY"))
	if dir != "" && !isDir(dir) {
		all.add("--state %q: no such directory; create one that only the user of ranchd can read", dir)
	}
	return dir
}

func isDir(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.IsDir()
}
