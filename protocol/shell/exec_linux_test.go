package shell

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/protocol/session"
)

// script is a program that the tests may run, for which they take a shell.
func script(name, body string) Program {
	return Program{Name: name, Path: "/bin/sh", Args: []string{"-c", body, name}, Allow: AnyArgs, Role: Viewer, Grace: 50 * time.Millisecond}
}

func TestProgram(t *testing.T) {
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "sub"), 0o700)
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip("no program echo on this machine; install coreutils")
	}
	loop := script("cpu", "while :; do :; done")
	loop.CPU = time.Second
	late := script("late", "echo begun; sleep 100")
	late.Timeout = 100 * time.Millisecond
	much := script("much", "yes")
	much.MaxOutput = 7
	denied := Program{Name: "denied", Path: "/bin/true"}
	none := Program{Name: "none", Path: "/bin/true", Role: Viewer}
	missing := Program{Name: "missing", Path: "/nonexistent", Role: Viewer}
	env := script("env", "env | sort")
	env.Env = []string{"A=b"}
	programs := []Program{loop, late, much, denied, none, missing, env,
		{Name: "say", Path: echo, Allow: NoFlags, Role: Viewer},
		script("where", "pwd"), script("status", "exit 3"), script("in", "cat; echo end"), script("err", "echo oops >&2; printf x"), script("self", "kill -9 $$")}
	programs[9].Name = "three"
	h := serve(t, Options{Root: root, Programs: programs})
	tests := []struct {
		send string
		want []string
	}{
		{"say $HOME `id` $(id) ; id | id > x & *", []string{"$HOME `id` $(id) ; id | id > x & *"}},
		{`say "a  b" 'c"d' --`, []string{`error: argument "--": none may begin with "-"`}},
		{`say "a  b" 'c"d'`, []string{`a  b c"d`}},
		{"cd sub", nil},
		{"where", []string{root + "/sub"}},
		{"three", []string{"error: the program has failed: status 3"}},
		{"in", []string{"end"}},
		{"err", []string{"oops", "x"}},
		{"self", []string{"error: the program was killed: killed"}},
		{"none x", []string{"error: none takes no arguments"}},
		{"denied", []string{"error: denied needs a role of operator; yours is viewer"}},
		{"missing", []string{"error: missing cannot be started: no such file or directory"}},
		{"much", []string{"y", "y", "y", "y", "error: output limit reached; the program was killed"}},
		{"late", []string{"begun", "error: time limit reached; the program was killed"}},
		{"env", []string{"A=b", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "PWD=" + root + "/sub"}},
		{"cpu", []string{"error: processor time limit reached; the program was killed"}},
	}
	c := h.dial()
	for _, tt := range tests {
		c.send(tt.send + "\n")
		for _, w := range tt.want {
			got := c.line()
			for strings.HasPrefix(got, "OLDPWD=") || strings.HasPrefix(got, "SHLVL=") || strings.HasPrefix(got, "_=") {
				got = c.line()
			}
			if got != w {
				t.Errorf("%s: got %q, want %q", tt.send, got, w)
			}
		}
	}
}

// alive reports whether a process is there that has not ended.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// A program whose children ignore all that can be ignored leaves nothing behind, whatever ends it.
func TestProgramLeavesNothing(t *testing.T) {
	stubborn := `trap "" TERM INT HUP; (trap "" TERM INT HUP; while :; do sleep 1; done) & echo $! $$; `
	long := script("long", stubborn+"while :; do sleep 1; done")
	short := script("short", stubborn+"exit 0")
	pids := func(c *client) (all []int) {
		for _, f := range strings.Fields(c.line()) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
		}
		return all
	}
	gone := func(t *testing.T, all []int) {
		t.Helper()
		for _, pid := range all {
			waitFor(t, func() bool { return !alive(pid) })
		}
	}
	open := func(t *testing.T) (*house, *client) {
		h := serve(t, Options{Programs: []Program{long, short}, EndTime: -1, Sessions: session.Options[State]{TTL: 200 * time.Millisecond}})
		return h, h.dial()
	}
	t.Run("end", func(t *testing.T) {
		_, c := open(t)
		c.send("short\n")
		all := pids(c)
		gone(t, all)
		c.ask("echo on", "on")
	})
	t.Run("cancel", func(t *testing.T) {
		_, c := open(t)
		c.send("long\n")
		all := pids(c)
		c.ask("\x03", "error: cancelled")
		gone(t, all)
	})
	t.Run("end of the session", func(t *testing.T) {
		h, c := open(t)
		c.send("long\n")
		all := pids(c)
		h.Sessions().End(c.id)
		gone(t, all)
	})
	t.Run("expired", func(t *testing.T) {
		_, c := open(t)
		c.send("long\n")
		all := pids(c)
		c.Close()
		gone(t, all)
	})
	t.Run("stop", func(t *testing.T) {
		h, c := open(t)
		c.send("long\n")
		all := pids(c)
		h.l.Stop()
		gone(t, all)
	})
	t.Run("close", func(t *testing.T) {
		h, c := open(t)
		c.send("long\n")
		all := pids(c)
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		gone(t, all)
	})
}

// A program goes on when its connection has gone, and its output is for who comes back.
func TestProgramOutlivesItsConnection(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := serve(t, Options{EndTime: -1, Programs: []Program{script("talk", "echo begun; read x <"+fifo+"; echo $x")}})
	a := h.dial()
	a.ask("talk", "begun")
	a.Close()
	waitFor(t, func() bool { return h.Sessions().Stats().Detached == 1 })
	if err := os.WriteFile(fifo, []byte("later\n"), 0); err != nil {
		t.Fatal(err)
	}
	b := h.dial()
	b.ask("reconnect:"+a.id, "Conexao restabelecida", "later")
}

func TestProgramConcurrency(t *testing.T) {
	p := script("wait", "echo begun; sleep 100")
	p.MaxConcurrent = 1
	h := serve(t, Options{Programs: []Program{p}})
	a, b := h.dial(), h.dial()
	a.ask("wait", "begun")
	b.ask("wait", "error: wait is running 1 times already")
	a.ask("\x03", "error: cancelled")
	b.ask("wait", "begun")
}

// A program that writes without end to a client that does not read is held back, and can still be cancelled.
func TestProgramIsHeldBack(t *testing.T) {
	p := script("yes", "yes")
	p.MaxOutput = -1
	h := serve(t, Options{Programs: []Program{p}})
	c := h.dial()
	c.send("yes\n")
	var at *conn
	h.mu.Lock()
	for one := range h.conns {
		at = one
	}
	h.mu.Unlock()
	waitFor(t, func() bool { return at.peer.Outbox().Queued() >= highWater })
	for range 100 {
		if n := at.peer.Outbox().Queued(); n > highWater+2*pieceSize {
			t.Fatalf("%d bytes wait for the client", n)
		}
		time.Sleep(time.Millisecond)
	}
	c.send("\x03")
	for last := ""; last != "error: cancelled"; {
		last = c.line()
	}
	c.ask("echo on", "on")
}

func TestBadPrograms(t *testing.T) {
	_, err := New(Options{Programs: []Program{{Name: "a b", Path: "relative"}, {Name: "x", Path: "/x", Env: []string{"nothing"}}, {Name: "x", Path: "/x"}}})
	want := `option Programs[0]: Name "a b": allowed are letters, digits, "-", "_" and "."
Path "relative": allowed are absolute paths
option Programs[1]: Env "nothing": allowed are NAME=VALUE
option Programs x: allowed is each name once`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if _, err := New(Options{Programs: []Program{{Name: "ls", Path: "/bin/ls"}}}); err == nil {
		t.Error("a program has taken the name of a built-in command")
	}
}
