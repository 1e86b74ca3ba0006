//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/console/consoletest"
)

// terminalPatience is how long a terminal may take to show what it should.
const terminalPatience = 20 * time.Second

// pane is a terminal in which ranchctl runs.
type pane struct {
	t      *testing.T
	socket string // tmux' own
}

// start runs a shell command in a terminal of 60 columns and 14 lines, says its exit code and stays.
func start(t *testing.T, command string, env ...string) *pane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: apt-get install tmux")
	}
	p := &pane{t, filepath.Join(t.TempDir(), "tmux.sock")}
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", "60", "-y", "14"}
	for _, e := range env {
		args = append(args, "-e", e)
	}
	p.tmux(append(args, command+"; echo code $?; exec cat")...)
	t.Cleanup(func() { exec.Command("tmux", "-S", p.socket, "kill-server").Run() })
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// text types it; keys are tmux' names of keys.
func (p *pane) text(s string) { p.t.Helper(); p.tmux("send-keys", "-l", s) }
func (p *pane) keys(names ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, names...)...)
}

func (p *pane) screen() string {
	p.t.Helper()
	lines := strings.Split(p.tmux("capture-pane", "-p"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// shows waits until the screen is what it should be, the last lines of it if not all.
func (p *pane) shows(want ...string) {
	p.t.Helper()
	wanted := strings.Join(want, "\n")
	var got string
	for late := time.Now().Add(terminalPatience); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		got = p.screen()
		if got == wanted || strings.HasSuffix(got, "\n"+wanted) {
			return
		}
	}
	p.t.Fatalf("-want +got, the screen's last lines\n%s", cmp.Diff(strings.Split(wanted, "\n"), strings.Split(got, "\n")))
}

// contains waits until the screen does.
func (p *pane) contains(want string) {
	p.t.Helper()
	for late := time.Now().Add(terminalPatience); !strings.Contains(p.screen(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			p.t.Fatalf("there is no %q in\n%s", want, p.screen())
		}
	}
}

// TestTerminal is somebody at a keyboard.
func TestTerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: apt-get install tmux")
	}
	bin := filepath.Join(t.TempDir(), "ranchctl")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("prompt", func(t *testing.T) { testPrompt(t, bin) })
	t.Run("top", func(t *testing.T) { testTop(t, bin) })
	t.Run("one-shot top", func(t *testing.T) { testOneShotTop(t, bin) })
	t.Run("reconnect", func(t *testing.T) { testReconnect(t, bin) })
	t.Run("colour", func(t *testing.T) { testColour(t, bin) })
}

const prompt = "srv.sock> "

func trimmed(s string) string { return strings.TrimRight(s, " ") }

func testPrompt(t *testing.T, bin string) {
	s := &consoletest.Server{}
	state := t.TempDir()
	addr := serve(t, s)
	p := start(t, bin+" -c "+addr, "NO_COLOR=1", "XDG_STATE_HOME="+state)
	p.shows(trimmed(prompt))
	p.text("sta")
	p.keys("Tab") // nothing to add but the common beginning
	p.keys("Tab")
	p.shows("stats   status", prompt+"stat")
	p.text("u")
	p.keys("Tab")
	p.keys("Enter")
	p.shows(prompt+"status", "Name:    a server", "Uptime:  1m3s", "Sent:    1.2 MiB", trimmed(prompt))
	p.text("auth:secret")
	p.keys("Enter")
	p.shows(prompt+"auth:secret", "you are ops", trimmed(prompt))
	p.text("no such thing")
	p.keys("C-c")
	p.shows("you are ops", trimmed(prompt))
	p.text("slow")
	p.keys("Enter")
	s.Wait(7) // format, two or three completions, status, auth, slow
	p.shows(prompt + "slow")
	waitFor(t, s, "slow")
	p.keys("C-c")
	p.shows(prompt+"slow", "error: cancelled", trimmed(prompt))
	p.text("tat")
	p.keys("C-r")
	p.shows(prompt + "status")
	p.keys("C-c", "Up", "Up") // auth is not in the history
	p.shows("error: cancelled", prompt+"status")
	p.keys("C-c")
	p.shows("error: cancelled", trimmed(prompt))
	p.keys("C-d")
	p.shows(trimmed(prompt), "code 0")
	b, err := os.ReadFile(filepath.Join(state, "ranchctl", "history"))
	if diff := cmp.Diff("status\nslow\n", string(b)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// waitFor returns when the server has received a request.
func waitFor(t *testing.T, s *consoletest.Server, request string) {
	t.Helper()
	for n := 1; ; n++ {
		s.Wait(n)
		if s.Received()[n-1] == request {
			return
		}
	}
}

func testTop(t *testing.T, bin string) {
	s := &consoletest.Server{}
	p := start(t, bin+" -c "+serve(t, s), "NO_COLOR=1", "XDG_STATE_HOME="+t.TempDir())
	p.shows(trimmed(prompt))
	p.text("top")
	p.keys("Enter")
	p.whole("FRAME\n    2") // and nothing else
	p.keys("x", "q")
	p.whole(strings.Join([]string{prompt + "top", "FRAME", "    2", trimmed(prompt)}, "\n"))
}

// whole waits until that is all there is on the screen.
func (p *pane) whole(want string) {
	p.t.Helper()
	var got string
	for late := time.Now().Add(terminalPatience); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		if got = p.screen(); got == want {
			return
		}
	}
	p.t.Fatalf("-want +got, the screen\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
}

func testOneShotTop(t *testing.T, bin string) {
	p := start(t, bin+" -c "+serve(t, &consoletest.Server{})+" top; code=$?; stty -a | grep -o ' icanon'; (exit $code)", "NO_COLOR=1")
	p.whole("FRAME\n    2")
	p.keys("q")
	p.shows("FRAME", "    2", " icanon", "code 0")
}

func testReconnect(t *testing.T, bin string) {
	s := &consoletest.Server{}
	path := filepath.Join(t.TempDir(), "srv.sock")
	begin := func() (end func()) {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			s.Serve(ln)
		}()
		return func() {
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			<-served
			s.Close()
		}
	}
	end := begin()
	p := start(t, bin+" -c unix:"+path, "NO_COLOR=1", "XDG_STATE_HOME="+t.TempDir())
	p.shows(trimmed(prompt))
	p.text("echo hal")
	p.shows(prompt + "echo hal")
	end()
	p.text("lo") // typing goes on while there is no server
	p.shows(prompt + "echo hallo")
	end = begin()
	defer func() { end() }()
	p.contains("connection lost; back after ")
	p.keys("Enter")
	p.shows(prompt+"echo hallo", "hallo", trimmed(prompt))
	p.text("drop")
	p.keys("Enter")
	p.contains("error: the connection broke before the answer; the command m\nay have been carried out") // in either order
	p.contains("connection lost; back after 0.0 s")
}

func testColour(t *testing.T, bin string) {
	p := start(t, bin+" -c "+serve(t, &consoletest.Server{})+" fail")
	p.shows("error: it is broken", "code 1")
	if got := p.tmux("capture-pane", "-p", "-e"); !strings.Contains(got, "\x1b[31merror:") {
		t.Errorf("no colour in %q", got)
	}
}
