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

const deployDir = "../../deploy"

// rollingUpgrade is the script that upgrades the nodes of a cluster.
const rollingUpgrade = deployDir + "/cluster/rolling-upgrade.sh"

// The script handles the nodes one after the other, stops at the first failure, and says with which
// node to continue. ranchctl and the command that restarts a node are replaced by scripts.
func TestRollingUpgradeScript(t *testing.T) {
	bash := requireProgram(t, "bash", "bash")
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for name, text := range map[string]string{
		"ranchctl": `shift; echo "$@" >>"$LOG"; [ "$*" != "$FAIL" ]`,
		"restart":  `echo restart "$@" >>"$LOG"; [ "restart $*" != "$FAIL" ]`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	node := func(name, through string) []string {
		return []string{
			through + " nodes --wait 1m a b", through + " drain all --node " + name + " --spread 2s --delay 0s --timeout 30s",
			"restart -x " + name, through + " nodes --wait 1m a b",
		}
	}
	both := append(node("a", "addr-b"), node("b", "addr-a")...)
	usual := []string{"--spread", "2s", "--wait", "1m", "a=addr-a", "b=addr-b", "--", filepath.Join(dir, "restart"), "-x"}
	for _, tt := range []struct {
		name, fail string
		args       []string
		code       int
		want       []string
		output     string
	}{
		{"all", "", usual, 0, both, "all nodes are upgraded"},
		{"from", "", append([]string{"--from", "b"}, usual...), 0, both[4:], "all nodes are upgraded"},
		{"not ready", both[0], usual, 1, both[:1], "a was not touched"},
		{"drain", both[1], usual, 1, both[:2], "draining a failed"},
		{"command", both[6], usual, 1, both[:7], "the command failed for b"},
		{"second node", both[4], usual, 1, both[:5], "script again with --from b"},
		{"one node", "", []string{"a=addr-a", "--", "true"}, 2, nil, "at least two nodes"},
		{"no command", "", []string{"a=addr-a", "b=addr-b"}, 2, nil, "the command that restarts a node is missing"},
		{"unknown node", "", append([]string{"--from", "c"}, usual...), 2, nil, "--from c: no such node"},
		{"flag", "", []string{"--spraed", "2s"}, 2, nil, "unknown flag --spraed"},
		{"value", "", []string{"--spread"}, 2, nil, "--spread needs a value"},
		{"help", "", []string{"--help"}, 0, nil, "Usage: rolling-upgrade.sh"},
	} {
		os.Remove(log)
		cmd := exec.CommandContext(t.Context(), bash, append([]string{rollingUpgrade}, tt.args...)...)
		cmd.Env = append(os.Environ(), "RANCHCTL="+filepath.Join(dir, "ranchctl"), "LOG="+log, "FAIL="+tt.fail)
		out, _ := cmd.CombinedOutput()
		calls, _ := os.ReadFile(log)
		got, want := string(calls), strings.Join(tt.want, "\n")
		if want != "" {
			want += "\n"
		}
		if code := cmd.ProcessState.ExitCode(); got != want || code != tt.code || !strings.Contains(string(out), tt.output) {
			t.Errorf("%s: got code %d, calls\n%soutput\n%swant code %d, calls\n%sand %q", tt.name, code, got, out, tt.code, want, tt.output)
		}
	}
}

// testOperators shows and commands all nodes through one of them, and upgrades one by the script,
// which runs ranchctl.
func testOperators(t *testing.T, bin string, nodes map[string]*clusterNode) {
	dir := t.TempDir()
	ctl := filepath.Join(dir, "ranchctl")
	if out, err := exec.Command("go", "build", "-o", ctl, "../ranchctl").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ranchctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(ctl, append([]string{"--connect", nodes["a"].admin}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("ranchctl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	ranchctl("nodes", "--wait", "1m", "a", "b", "c")
	if got, want := ranchctl("status"), "ready; 3 nodes: 3 ready"; !strings.Contains(got, want) {
		t.Errorf("status: got\n%s\nwant %q", got, want)
	}
	for _, name := range []string{"a", "b", "c"} {
		if got := ranchctl("connections", "--node", "all"); !strings.Contains(got, "\n"+name+" ") {
			t.Errorf("connections --node all: got\n%s\nwant one of node %s", got, name)
		}
	}
	ranchctl("cap", "topics", "77", "--node", "c")
	nodes["c"].log.event(t, "audit", map[string]any{"line": "cap topics 77", "role": "operator"})
	if got := ranchctl("complete:kill --node "); !strings.Contains(got, "c") || !strings.Contains(got, "all") {
		t.Errorf("completion: got %q, want the nodes", got)
	}

	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Log("SKIPPED: bash is not installed; to test the rolling upgrade: apt-get install bash")
		return
	}
	stopped, restarted := filepath.Join(dir, "stopped"), filepath.Join(dir, "restarted")
	hook := filepath.Join(dir, "hook")
	text := fmt.Sprintf("#!/bin/sh\n: >%s-$1; n=0\nuntil [ -e %s ] || [ $((n += 1)) -gt 3000 ]; do sleep 0.02; done\n", stopped, restarted)
	if err := os.WriteFile(hook, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{rollingUpgrade, "--from", "c", "--spread", "100ms", "--wait", "1m"}
	for _, name := range []string{"a", "b", "c"} {
		args = append(args, name+"="+nodes[name].admin)
	}
	script := exec.Command(bash, append(args, "--", hook)...)
	script.Env = append(os.Environ(), "RANCHCTL="+ctl)
	script.WaitDelay = time.Second // the hook may outlive the script, and has its output
	var out output
	script.Stdout, script.Stderr = &out, &out
	p := &process{cmd: script}
	p.start(t)
	for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(stopped + "-c"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("script: got no restart of c within %v, want one; output:\n%s", timeout, &out)
		}
	}
	if got := ranchctl("nodes", "c"); !strings.Contains(got, "draining") {
		t.Errorf("nodes c: got\n%s\nwant it draining", got)
	}
	nodes["c"].cmd.Process.Signal(os.Interrupt)
	nodes["c"].wantExit(t, 0)
	nodes["c"].run(t, bin)
	if err := os.WriteFile(restarted, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.wantExit(t, 0)
	if got := out.String(); !strings.HasSuffix(got, "== all nodes are upgraded\n") {
		t.Errorf("script: got\n%s\nwant that all nodes are upgraded", got)
	}
}
