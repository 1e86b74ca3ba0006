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

// testConsole runs --console on a terminal. Log lines appear above the line that is being typed,
// and quit ends ranchd.
func testConsole(t *testing.T, bin string) {
	requireProgram(t, "tmux", "tmux")
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
	waitFor := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(timeout); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("got screen\n%s\nwant %s", tmux("capture-pane", "-p"), what)
			}
		}
	}
	waitForText := func(text string) {
		t.Helper()
		waitFor(text, func() bool { return strings.Contains(tmux("capture-pane", "-p"), text) })
	}
	waitForText("ranchd>")
	tmux("send-keys", "listeners", "Enter")
	waitForText("ACTIVE")
	tmux("send-keys", "cap s 7", "Enter")
	waitForText("command=cap") // the audit log
	waitForText("Previous cap:")
	tmux("send-keys", "quit", "Enter")
	waitFor("the end with exit code 0", func() bool {
		b, _ := os.ReadFile(code)
		return string(b) == "0\n"
	})
}

func TestConsoleWithoutTerminal(t *testing.T) {
	p := startProgram(t, "--console", "--listen", "127.0.0.1:0")
	p.wantExit(t, exitUsage)
	if !strings.Contains(p.log.String(), "terminal") {
		t.Errorf("got %s, want terminal in it", &p.log)
	}
}
