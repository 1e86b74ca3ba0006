package shell

import (
	"context"
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

// script returns a program that runs body in /bin/sh.
func script(name, body string) Program {
	return Program{Name: name, Path: "/bin/sh", Args: []string{"-c", body, name}, Allow: func([]string) error { return nil }, Role: Viewer, Grace: 50 * time.Millisecond}
}

func TestProgram(t *testing.T) {
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "sub"), 0o700)
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip("echo is not installed; install coreutils")
	}
	loop := script("cpu", "while :; do :; done")
	loop.CPU = time.Second
	large := script("large", "yes")
	large.MaxOutput = 7
	operatorOnly := Program{Name: "denied", Path: "/bin/true"}
	none := Program{Name: "none", Path: "/bin/true", Role: Viewer}
	missing := Program{Name: "missing", Path: "/nonexistent", Role: Viewer}
	env := script("env", "env | sort")
	env.Env = []string{"A=b"}
	programs := []Program{loop, large, operatorOnly, none, missing, env,
		{Name: "say", Path: echo, Allow: NoFlags, Role: Viewer},
		script("where", "pwd"), script("status", "exit 3"), script("in", "cat; echo end"), script("err", "echo stderr >&2; printf x"), script("self", "kill -9 $$")}
	programs[8].Name = "three"
	srv := newTestServer(t, Options{Root: root, Programs: programs})
	tests := []struct {
		send string
		want []string
	}{
		{"say $HOME `id` $(id) ; id | id > x & *", []string{"$HOME `id` $(id) ; id | id > x & *"}},
		{`say "a  b" 'c"d' --`, []string{`error: argument "--": allowed are arguments that do not begin with "-"`}},
		{`say "a  b" 'c"d'`, []string{`a  b c"d`}},
		{"cd sub", nil},
		{"where", []string{root + "/sub"}},
		{"three", []string{"error: the program failed: status 3"}},
		{"in", []string{"end"}},
		{"err", []string{"stderr", "x"}},
		{"self", []string{"error: the program was killed by a signal: killed"}},
		{"none x", []string{"error: none takes no arguments"}},
		{"denied", []string{"error: denied requires the role operator; your role is viewer"}},
		{"missing", []string{"error: cannot start missing: no such file or directory"}},
		{"large", []string{"y", "y", "y", "y", "error: output limit reached; the program was killed"}},
		{"env", []string{"A=b", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "PWD=" + root + "/sub"}},
		{"cpu", []string{"error: processor time limit reached; the program was killed"}},
	}
	c := srv.dial()
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

// The output of a program that is killed at its time limit is kept.
func TestProgramTimeLimit(t *testing.T) {
	const want = "error: time limit reached; the program was killed"
	for limit := 100 * time.Millisecond; ; limit *= 4 {
		late := script("late", "echo started; sleep 100")
		late.Timeout = limit
		c := newTestServer(t, Options{Programs: []Program{late}}).dial()
		c.send("late\n")
		got := c.line()
		if got == "started" {
			if got = c.line(); got != want {
				t.Errorf("after the output: got %q, want %q", got, want)
			}
			return
		}
		if got != want || limit > 10*time.Second { // a shell may take long to start on a busy machine
			t.Fatalf("limit %v: got %q, want the output first", limit, got)
		}
	}
}

// alive reports whether the process exists and is not a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// No process of a program remains after it has ended for any reason, even if its children ignore
// signals.
func TestProgramProcessesAreKilled(t *testing.T) {
	ignoring := `trap "" TERM INT HUP; (trap "" TERM INT HUP; while :; do sleep 1; done) & echo $! $$; `
	long := script("long", ignoring+"while :; do sleep 1; done")
	short := script("short", ignoring+"exit 0")
	for _, tt := range []struct {
		name, program string
		end           func(srv *testServer, c *client)
	}{
		{"program ends", "short", func(*testServer, *client) {}},
		{"cancelled", "long", func(_ *testServer, c *client) { c.ask("\x03", "error: cancelled") }},
		{"session ended", "long", func(srv *testServer, c *client) { srv.Sessions().End(c.id) }},
		{"session expired", "long", func(_ *testServer, c *client) { c.Close() }},
		{"listener stopped", "long", func(srv *testServer, _ *client) { srv.l.Stop() }},
		{"shell closed", "long", func(srv *testServer, _ *client) { srv.Close(context.Background()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := newTestServer(t, Options{Programs: []Program{long, short}, HalfCloseTimeout: -1, Sessions: session.Options[State]{TTL: 200 * time.Millisecond}})
			c := srv.dial()
			c.send(tt.program + "\n")
			pids := strings.Fields(c.line())
			tt.end(srv, c)
			for _, f := range pids {
				pid, err := strconv.Atoi(f)
				if err != nil {
					t.Fatalf("got process ids %q, want numbers", pids)
				}
				waitFor(t, "a process to end", func() bool { return !alive(pid) })
			}
			if tt.name == "program ends" {
				c.ask("echo on", "on")
			}
		})
	}
}

// A program continues after its connection has closed; the connection that resumes the session gets
// its output.
func TestProgramOutlivesItsConnection(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := newTestServer(t, Options{HalfCloseTimeout: -1, Programs: []Program{script("print", "echo started; read x <"+fifo+"; echo $x")}})
	a := srv.dial()
	a.ask("print", "started")
	a.Close()
	waitFor(t, "the session to be detached", func() bool { return srv.Sessions().Stats().Detached == 1 })
	if err := os.WriteFile(fifo, []byte("later\n"), 0); err != nil {
		t.Fatal(err)
	}
	b := srv.dial()
	b.ask("reconnect:"+a.id, "Conexao restabelecida", "later")
}

func TestProgramConcurrency(t *testing.T) {
	p := script("wait", "echo started; sleep 100")
	p.MaxConcurrent = 1
	srv := newTestServer(t, Options{Programs: []Program{p}})
	a, b := srv.dial(), srv.dial()
	a.ask("wait", "started")
	b.ask("wait", "error: wait is already running 1 times, which is the limit")
	a.ask("\x03", "error: cancelled")
	b.ask("wait", "started")
}

// The output of a program blocks while the client does not read; the program can still be
// cancelled.
func TestProgramOutputBlocks(t *testing.T) {
	p := script("yes", "yes")
	p.MaxOutput = -1
	srv := newTestServer(t, Options{Programs: []Program{p}})
	c := srv.dial()
	c.send("yes\n")
	var server *conn
	srv.mu.Lock()
	for sc := range srv.conns {
		server = sc
	}
	srv.mu.Unlock()
	waitFor(t, "the outbox to fill", func() bool { return server.peer.Outbox().Queued() >= highWater })
	for range 100 {
		if n := server.peer.Outbox().Queued(); n > highWater+2*pieceSize {
			t.Fatalf("got %d bytes queued, want at most %d", n, highWater+2*pieceSize)
		}
		time.Sleep(time.Millisecond)
	}
	c.send("\x03")
	for last := ""; last != "error: cancelled"; {
		last = c.line()
	}
	c.ask("echo on", "on")
}

func TestProgramFaults(t *testing.T) {
	_, err := New(Options{Programs: []Program{{Name: "a b", Path: "relative"}, {Name: "x", Path: "/x", Env: []string{"nothing"}}, {Name: "x", Path: "/x"}}})
	want := `option Programs[0].Name "a b": allowed are letters, digits, "-", "_" and ".", beginning with a letter or digit
option Programs[0].Path "relative": allowed are absolute paths
option Programs[1].Env "nothing": allowed are NAME=VALUE
option Programs[2].Name "x": allowed are names not used by another program`
	if err == nil || err.Error() != want {
		t.Errorf("got error\n%v\nwant\n%s", err, want)
	}
	if _, err := New(Options{Programs: []Program{{Name: "ls", Path: "/bin/ls"}}}); err == nil {
		t.Error("program with the name of a built-in command: got no error, want one")
	}
}
