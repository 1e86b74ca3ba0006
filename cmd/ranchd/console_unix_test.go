//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testConsole talks to ranchd on its own terminal. Log lines come above the one that is being typed;
// leaving the console ends ranchd in order.
func testConsole(t *testing.T, bin string) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("a terminal needs tmux: apt-get install tmux")
	}
	code := filepath.Join(t.TempDir(), "code")
	socket := fmt.Sprintf("ranchd-test-%d", os.Getpid())
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-L", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TERM=screen")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	line := fmt.Sprintf("%s --console --quiet --listen s=shell+tcp://127.0.0.1:0; echo $? > %s", bin, code)
	tmux("new-session", "-d", "-x", "100", "-y", "40", line)
	defer exec.Command("tmux", "-L", socket, "kill-server").Run()
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s\n%s", what, tmux("capture-pane", "-p"))
			}
		}
	}
	says := func(what string) {
		t.Helper()
		await("it does not say "+what, func() bool { return strings.Contains(tmux("capture-pane", "-p"), what) })
	}
	says("ranchd>")
	tmux("send-keys", "listeners", "Enter")
	says("ACTIVE")
	tmux("send-keys", "cap s 7", "Enter")
	says("command=cap") // of the audit
	says("Was:")
	tmux("send-keys", "quit", "Enter")
	await("it does not end", func() bool {
		b, _ := os.ReadFile(code)
		return string(b) == "0\n"
	})
}

func TestNoConsoleWithoutATerminal(t *testing.T) {
	p := launch(t, "--console", "--listen", "127.0.0.1:0")
	p.exits(t, exitUsage)
	if !strings.Contains(p.log.String(), "terminal") {
		t.Errorf("%s", &p.log)
	}
}
