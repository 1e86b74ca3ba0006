//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"goranch/transport"
)

// testConfigReload changes the file of the built program, and reloads it by SIGHUP and by a
// command.
func testConfigReload(t *testing.T, bin string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.toml")
	write := func(text string) {
		t.Helper()
		head := "quiet = true\nlog-format = 'json'\nadmin = 'unix:" + dir + "/admin.sock'\n"
		if err := os.WriteFile(file, []byte(head+one+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	p := &process{cmd: exec.Command(bin, "-c", file)}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "RANCHD_") })
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	p.start(t)
	p.log.event(t, "serving", nil)
	nc := dial(t, transport.TCP{}, p.log.addr(t, "a"))
	checkEcho(t, nc)
	write("max-connections = 7\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.log.event(t, "configuration changed", map[string]any{"listener": "a", "key": "max-connections", "before": "", "after": "7", "effect": "changed now"})
	p.log.event(t, "configuration reloaded", map[string]any{"file": file, "changes": 1.0})
	write("max-connections = 0\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	e := p.log.event(t, "configuration is invalid; nothing was changed", nil)
	if want := file + `:7: listener a: max-connections "0"`; !strings.Contains(fmt.Sprint(e["err"]), want) {
		t.Errorf("error: got %v, want %s in it", e["err"], want)
	}
	write("max-connections = 9\nacceptors = 2\n[[listener]]\nname = 'b'\naddress = '127.0.0.1:0'\n")
	admin := dial(t, transport.TCP{}, "unix:"+dir+"/admin.sock")
	io.WriteString(admin, "reload\nquit\n")
	answer, _ := io.ReadAll(admin)
	for _, want := range []string{`a +max-connections +7 +9 +changed now`, `a +acceptors +2 +at resume`, `b +tcp://127.0.0.1:0 +added`} {
		if !regexp.MustCompile(want).Match(answer) {
			t.Errorf("reload: got\n%s\nwant %s in it", answer, want)
		}
	}
	checkEcho(t, dial(t, transport.TCP{}, p.log.addr(t, "b")))
	checkEcho(t, nc)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}
