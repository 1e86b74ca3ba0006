//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"goranch/transport"
)

// TestBinary tests the built program in its own process.
func TestBinary(t *testing.T) {
	bin := buildProgram(t)
	t.Run("banner", func(t *testing.T) { t.Parallel(); testBanner(t, bin) })
	t.Run("plainLog", func(t *testing.T) { t.Parallel(); testPlainLog(t, bin) })
	t.Run("shutdownTimeout", func(t *testing.T) { t.Parallel(); testShutdownTimeout(t, bin) })
	t.Run("secondSignal", func(t *testing.T) { t.Parallel(); testSecondSignal(t, bin) })
	t.Run("json", func(t *testing.T) { t.Parallel(); testJSON(t, bin) })
	t.Run("signals", func(t *testing.T) { t.Parallel(); testSignals(t, bin) })
	t.Run("closedLog", func(t *testing.T) { t.Parallel(); testClosedLog(t, bin) })
	t.Run("inherited", func(t *testing.T) { t.Parallel(); testInherited(t, bin) })
	t.Run("activated", func(t *testing.T) { t.Parallel(); testActivated(t, bin) })
	t.Run("reload", func(t *testing.T) { t.Parallel(); testReload(t, bin) })
	t.Run("configReload", func(t *testing.T) { t.Parallel(); testConfigReload(t, bin) })
	t.Run("usage", func(t *testing.T) { t.Parallel(); testUsage(t, bin) })
	t.Run("console", func(t *testing.T) { t.Parallel(); testConsole(t, bin) })
	t.Run("dialogue", func(t *testing.T) { t.Parallel(); testDialogue(t, bin) })
	t.Run("crashes", func(t *testing.T) { t.Parallel(); testCrashes(t, bin) })
	t.Run("permission", func(t *testing.T) { t.Parallel(); testPermission(t, bin, filepath.Dir(bin)) })
}

// testPlainLog checks the default format of a log that is not on a terminal.
func testPlainLog(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "tcp://127.0.0.1:0")
	p.log.line(t, "the message serving", func(line string) bool { return strings.Contains(line, "serving") })
	if first, _, _ := strings.Cut(p.log.String(), "\n"); !strings.HasPrefix(first, "time=") || strings.Contains(p.log.String(), "\x1b") {
		t.Errorf("got log\n%s\nwant plain text", &p.log)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

// testShutdownTimeout stops the server while echo is blocked in a write to a client that does not
// read.
func testShutdownTimeout(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json", "--shutdown-timeout", "100ms")
	fillBuffers(t, dial(t, transport.TCP{}, p.log.addr(t, "a")))
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitAborted)
	p.log.event(t, "stopped; connections were closed at the shutdown timeout", map[string]any{"closed": 1.0})
}

// testSecondSignal sends a second signal during the drain.
func testSecondSignal(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json", "--shutdown-timeout", "infinity")
	fillBuffers(t, dial(t, transport.TCP{}, p.log.addr(t, "a")))
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.log.event(t, "draining", map[string]any{"connections": 1.0})
	p.cmd.Process.Signal(syscall.SIGINT)
	p.wantExit(t, 130)
}

func testJSON(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "tls://127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--quiet")
	addr := p.log.addr(t, "echo-tls")
	nc := dial(t, tlsByFingerprint(t, p.log.selfSigned(t)), addr)
	checkEcho(t, nc)
	p.cmd.Process.Signal(syscall.SIGINT)
	p.wantExit(t, exitOK)
	if p.out.String() != "" {
		t.Errorf("--quiet: got output %q, want none", &p.out)
	}
	for line := range strings.Lines(p.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("got log line %s, want JSON", line)
		}
	}
	p.log.event(t, "connection ended", map[string]any{"reason": "shutdown"})
}

func testSignals(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json")
	p.log.event(t, "serving", nil)
	p.cmd.Process.Signal(syscall.SIGUSR1)
	p.log.event(t, "listener info", map[string]any{"listener": "a"})
	p.cmd.Process.Signal(syscall.SIGINT)
	p.wantExit(t, exitOK)
}

// testClosedLog closes the pipe that reads the log, which must not end the server.
func testClosedLog(t *testing.T, bin string) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(bin, "--listen", "a=127.0.0.1:0", "--log-level", "debug")}
	p.cmd.Stderr = w
	p.start(t)
	w.Close() // the process has its own copy; without another one, reading ends with the process
	var addr string
	for lines := bufio.NewScanner(r); addr == "" && lines.Scan(); {
		if m := regexp.MustCompile(`listener started.* addr=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	if addr == "" {
		t.Fatal("got the end of the log, want the address of a listener")
	}
	r.Close()
	for range 3 { // each connection logs lines
		nc := dial(t, transport.TCP{}, addr)
		checkEcho(t, nc)
		nc.Close()
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

func testUsage(t *testing.T, bin string) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitOK, "Exit codes:"},
		{[]string{"--version"}, exitOK, "ranchd "},
		{[]string{"--check"}, exitOK, "echo-tls=tls://127.0.0.1:8008"},
		{[]string{"--check"}, exitOK, "packet-tcp=packet+tcp://127.0.0.1:8082"},
		{[]string{"--max-connections", "many"}, exitUsage, `--max-connections "many"`},
		{[]string{"--cert", "missing.pem", "--key", "missing.key"}, exitUsage, `--key "missing.key": no such file`},
	} {
		p := startProcess(t, bin, c.args...)
		p.wantExit(t, c.code)
		if got := p.out.String() + p.log.String(); !strings.Contains(got, c.want) {
			t.Errorf("%q: got\n%s\nwant %q in it", c.args, got, c.want)
		}
	}
}

// testPermission listens in a directory without write permission. root can write everywhere, so as
// root the test runs the program as another user.
func testPermission(t *testing.T, bin, binDir string) {
	dir := t.TempDir()
	cmd := exec.Command(bin, "--log-format", "json", "--listen", "a=127.0.0.1:0", "--listen", "b=unix:"+dir+"/a.sock")
	mode := os.FileMode(0o500)
	if os.Getuid() == 0 {
		mode = 0o555
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for _, d := range []string{binDir, dir} { // so that the other user can reach them
			if err := os.Chmod(filepath.Dir(d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		probe := exec.Command(bin, "--version")
		probe.Dir, probe.SysProcAttr = "/", cmd.SysProcAttr
		if err := probe.Run(); err != nil {
			t.Skipf("SKIPPED: root cannot run the program as another user: %v; to run this test: su nobody -s /bin/sh -c 'go test ./cmd/ranchd -run Binary/permission'", err)
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	p := &process{cmd: cmd}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &p.out, &p.log
	p.start(t)
	p.wantExit(t, exitFailed)
	e := p.log.event(t, "starting a listener failed", map[string]any{"listener": "b", "addr": "unix:" + dir + "/a.sock"})
	if hint, _ := e["hint"].(string); !strings.Contains(hint, dir) {
		t.Errorf("hint: got %q, want the directory in it", hint)
	}
	if nc, err := net.Dial("tcp", p.log.addr(t, "a")); err == nil {
		nc.Close()
		t.Error("the first listener accepts connections, want it stopped")
	}
}
