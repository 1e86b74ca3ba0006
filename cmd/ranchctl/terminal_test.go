//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

// terminalTimeout is how long a terminal may take to show what a test expects.
const terminalTimeout = 20 * time.Second

// pane is a terminal of tmux in which ranchctl runs.
type pane struct {
	t      *testing.T
	socket string // of the tmux server
}

// newPane runs a shell command in a terminal of 60 columns and 14 lines, then prints its exit code.
func newPane(t *testing.T, command string, env ...string) *pane {
	t.Helper()
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

// text types text.
func (p *pane) text(s string) { p.t.Helper(); p.tmux("send-keys", "-l", s) }

// keys presses keys by their tmux names.
func (p *pane) keys(names ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, names...)...)
}

// screen returns the screen without blanks at the ends of lines.
func (p *pane) screen() string {
	p.t.Helper()
	lines := strings.Split(p.tmux("capture-pane", "-p"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// waitFor waits until the screen is ok.
func (p *pane) waitFor(want string, ok func(screen string) bool) {
	p.t.Helper()
	var got string
	for end := time.Now().Add(terminalTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = p.screen(); ok(got) {
			return
		}
	}
	p.t.Fatalf("screen (-want +got):\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
}

// expectEnd waits until the last lines of the screen are want.
func (p *pane) expectEnd(want ...string) {
	p.t.Helper()
	wanted := strings.Join(want, "\n")
	p.waitFor(wanted, func(got string) bool { return got == wanted || strings.HasSuffix(got, "\n"+wanted) })
}

// expectAll waits until the screen is want.
func (p *pane) expectAll(want string) {
	p.t.Helper()
	p.waitFor(want, func(got string) bool { return got == want })
}

// expect waits until the screen contains want.
func (p *pane) expect(want string) {
	p.t.Helper()
	p.waitFor(want, func(got string) bool { return strings.Contains(got, want) })
}

// TestTerminal runs ranchctl on a terminal.
func TestTerminal(t *testing.T) {
	t.Parallel()
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
	t.Run("drain", func(t *testing.T) { testDrainWatch(t, bin) })
	t.Run("color", func(t *testing.T) { testColor(t, bin) })
}

const (
	promptText = "srv.sock> "
	emptyLine  = "srv.sock>" // the prompt as screen returns it
)

func testPrompt(t *testing.T, bin string) {
	opts := requireToken("secret")
	opts.Authenticate = nil
	s := newTestServer(t, opts)
	state := t.TempDir()
	p := newPane(t, bin+" -c "+s.addr, "NO_COLOR=1", "XDG_STATE_HOME="+state)
	p.expectEnd(emptyLine)
	p.text("sta")
	p.keys("Tab") // the common prefix
	p.keys("Tab") // the candidates
	p.expectEnd("stats   status", promptText+"stat")
	p.text("u")
	p.keys("Tab")
	p.keys("Enter")
	p.expectEnd(promptText+"status", "Name:    a server", "Uptime:  1m3s", "Sent:    1.2 MiB", emptyLine)
	p.text("auth:secret")
	p.keys("Enter")
	p.expectEnd(promptText+"auth:secret", "ops, operator", emptyLine)
	p.text("no such thing")
	p.keys("C-c")
	p.expectEnd("ops, operator", emptyLine)
	p.text("slow")
	p.keys("Enter")
	select {
	case <-s.running:
	case <-time.After(terminalTimeout):
		t.Fatal("the command slow does not run")
	}
	p.expectEnd(promptText + "slow")
	p.keys("C-c")
	p.expectEnd(promptText+"slow", "error: cancelled", emptyLine)
	p.text("tat")
	p.keys("C-r")
	p.expectEnd(promptText + "status")
	p.keys("C-c", "Up", "Up") // auth is not in the history
	p.expectEnd("error: cancelled", promptText+"status")
	p.keys("C-c")
	p.expectEnd("error: cancelled", emptyLine)
	p.keys("C-d")
	p.expectEnd(emptyLine, "code 0")
	b, err := os.ReadFile(filepath.Join(state, "ranchctl", "history"))
	if diff := cmp.Diff("status\nslow\n", string(b)); diff != "" || err != nil {
		t.Errorf("history file: %v (-want +got):\n%s", err, diff)
	}
}

func testTop(t *testing.T, bin string) {
	s := newTestServer(t, shell.Options{})
	p := newPane(t, bin+" -c "+s.addr, "NO_COLOR=1", "XDG_STATE_HOME="+t.TempDir())
	p.expectEnd(emptyLine)
	p.text("top")
	p.keys("Enter")
	p.expectAll("FRAME\n    2")
	p.keys("x", "q")
	p.expectAll(strings.Join([]string{promptText + "top", "FRAME", "    2", emptyLine}, "\n"))
}

func testOneShotTop(t *testing.T, bin string) {
	s := newTestServer(t, shell.Options{})
	p := newPane(t, bin+" -c "+s.addr+" top; code=$?; stty -a | grep -o ' icanon'; (exit $code)", "NO_COLOR=1")
	p.expectAll("FRAME\n    2")
	p.keys("q")
	p.expectEnd("FRAME", "    2", " icanon", "code 0")
}

func testReconnect(t *testing.T, bin string) {
	s := newTestServer(t, shell.Options{})
	p := newPane(t, bin+" -c "+s.addr, "NO_COLOR=1", "XDG_STATE_HOME="+t.TempDir())
	p.expectEnd(emptyLine)
	p.text("drop")
	p.keys("Enter")
	p.expect("error: the connection has ended: ") // the notice may precede it
	p.expect("connection lost; reconnected after 0.")
	p.text("echo hal")
	p.expectEnd(promptText + "echo hal")
	s.stop()
	p.text("lo") // while there is no server
	p.expectEnd(promptText + "echo hallo")
	s.start()
	p.expect("in a new")
	p.keys("Enter")
	p.expectEnd(promptText+"echo hallo", "hallo", emptyLine)
}

func testColor(t *testing.T, bin string) {
	s := newTestServer(t, shell.Options{})
	p := newPane(t, bin+" -c "+s.addr+" fail")
	p.expectEnd("error: it is broken", "code 1")
	if got := p.tmux("capture-pane", "-p", "-e"); !strings.Contains(got, "\x1b[31merror:") {
		t.Errorf("got %q, want the color of errors", got)
	}
}

// drain --watch shows a bar in place, and leaves the last one on the screen.
func testDrainWatch(t *testing.T, bin string) {
	var server ranch.Server
	mem := new(transport.Mem)
	opts := ranch.Options{Addr: "echo", DrainSpread: 4 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	l, err := server.StartListener("echo", mem, opts, echo.Protocol{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	for range 40 {
		nc, err := mem.Dial(t.Context(), "echo")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), terminalTimeout)
	defer cancel()
	if err := l.WaitForConnections(ctx, ranch.Equal, 40); err != nil {
		t.Fatal(err)
	}
	commands := admin.Commands(admin.Options{Server: &server})
	s := newTestServer(t, shell.Options{Commands: slices.DeleteFunc(commands, func(c shell.Command) bool { return c.Name != "drain" }),
		Authenticate: func(context.Context, *transport.Conn) (shell.User, error) {
			return shell.User{Name: "ops", Role: shell.Operator}, nil
		}})
	p := newPane(t, "stty cols 100; "+bin+" -c "+s.addr+" drain --watch echo", "NO_COLOR=1")
	p.tmux("resize-window", "-x", "100")
	p.expect("PROGRESS")
	p.waitFor("a bar that is neither empty nor full", func(screen string) bool { return strings.Contains(screen, "[#") && strings.Contains(screen, " ] ") })
	p.expect("[####################] 100 %")
	p.expect("Listeners drained:         1\nConnections at the start:  40")
	p.expect("code 0")
}
