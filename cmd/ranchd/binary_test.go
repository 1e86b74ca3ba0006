//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// TestBinary runs the program as its users do: built, in a process of its own, with the
// clients that its banner recommends.
func TestBinary(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "ranchd")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("banner", func(t *testing.T) { testBanner(t, bin) })
	t.Run("busy", func(t *testing.T) { testBusy(t, bin) })
	t.Run("twice", func(t *testing.T) { testTwice(t, bin) })
	t.Run("json", func(t *testing.T) { testJSON(t, bin) })
	t.Run("signals", func(t *testing.T) { testSignals(t, bin) })
	t.Run("readerGone", func(t *testing.T) { testReaderGone(t, bin) })
	t.Run("inherited", func(t *testing.T) { testInherited(t, bin) })
	t.Run("activated", func(t *testing.T) { testActivated(t, bin) })
	t.Run("reload", func(t *testing.T) { testReload(t, bin) })
	t.Run("usage", func(t *testing.T) { testUsage(t, bin) })
	t.Run("console", func(t *testing.T) { testConsole(t, bin) })
	t.Run("dialogue", func(t *testing.T) { testDialogue(t, bin) })
	t.Run("crashes", func(t *testing.T) { testCrashes(t, bin) })
	t.Run("permission", func(t *testing.T) { testPermission(t, bin, dir) })
}

// child is ranchd in a process of its own.
type child struct {
	cmd      *exec.Cmd
	out, log output
	gone     chan struct{} // closed at its end
}

func spawn(t *testing.T, bin string, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(bin, args...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.log
	c.start(t)
	return c
}

func (c *child) start(t *testing.T) {
	t.Helper()
	c.gone = make(chan struct{})
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.gone)
		c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.gone
	})
}

func (c *child) exits(t *testing.T, want int) {
	t.Helper()
	select {
	case <-c.gone:
	case <-time.After(patience):
		t.Fatalf("it does not end; log:\n%s", &c.log)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("%v, want exit code %d; log:\n%s", c.cmd.ProcessState, want, &c.log)
	}
}

// try returns the line of the banner that says how to try a listener.
func (c *child) try(t *testing.T, listener string) string {
	t.Helper()
	last := ""
	return strings.TrimSpace(c.out.line(t, "how to try "+listener, func(line string) bool {
		found := strings.HasPrefix(last, "  "+listener+": ")
		last = line
		return found
	}))
}

// testBanner tries what the banner says, word for word.
func testBanner(t *testing.T, bin string) {
	sock := filepath.Join(t.TempDir(), "a b.sock")
	sock = strings.ReplaceAll(sock, " ", "'") // must be quoted for the shell
	tlsSock := filepath.Join(t.TempDir(), "tls.sock")
	c := spawn(t, bin, "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--listen", "unix:"+sock, "--listen", "tls+unix:"+tlsSock,
		"--listen", "packet+tcp://127.0.0.1:0", "--listen", "packet+tls://127.0.0.1:0",
		"--listen", "shell+tcp://127.0.0.1:0", "--listen", "topics+tcp://127.0.0.1:0", "--listen", "web+tcp://127.0.0.1:0")
	t.Run("shell, topics, web", func(t *testing.T) {
		for _, x := range []struct{ listener, client, says string }{
			{"shell-tcp", "nc", "whoami"}, {"topics-tcp", "nc", "\"}\x01ACK\x01"}, {"web-tcp", "curl", "<html"},
		} {
			if _, err := exec.LookPath(x.client); err != nil {
				t.Skip(x.client + " is not installed: apt-get install netcat-openbsd curl")
			}
			command := strings.Replace(c.try(t, x.listener), "a browser at", "curl -sS", 1)
			out, _ := exec.Command("timeout", "2", "sh", "-c", command).Output() // nc stays to listen to topics
			if !strings.Contains(strings.ReplaceAll(string(out), "\n", ""), x.says) {
				t.Errorf("%s: %q", command, out)
			}
		}
	})
	t.Run("packet", func(t *testing.T) {
		for listener, client := range map[string]string{"packet-tcp": "nc", "packet-tls": "openssl"} {
			if _, err := exec.LookPath(client); err != nil {
				t.Skip(client + " is not installed: apt-get install netcat-openbsd openssl")
			}
			command := c.try(t, listener)
			if out, err := exec.Command("sh", "-c", command).Output(); !strings.Contains(string(out), `{"jsonrpc":"2.0","result":"`) || err != nil {
				t.Errorf("%s: %q, %v", command, out, err)
			}
		}
	})
	t.Run("nc", func(t *testing.T) {
		if _, err := exec.LookPath("nc"); err != nil {
			t.Skip("nc is not installed: apt-get install netcat-openbsd")
		}
		for _, listener := range []string{"echo-tcp", "echo-unix"} {
			command := c.try(t, listener)
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); string(out) != "hello" || err != nil {
				t.Errorf("%s: %q, %v", command, out, err)
			}
		}
	})
	t.Run("openssl", func(t *testing.T) {
		if _, err := exec.LookPath("openssl"); err != nil {
			t.Skip("openssl is not installed: apt-get install openssl")
		}
		for _, listener := range []string{"echo-tls", "echo-tls-unix"} {
			tryInteractive(t, c.try(t, listener))
		}
	})
	if first, _, _ := strings.Cut(c.log.String(), "\n"); !strings.HasPrefix(first, "time=") || strings.Contains(c.log.String(), "\x1b") {
		t.Errorf("logs that go to no terminal are not plain text:\n%s", &c.log)
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitInOrder)
}

// tryInteractive types a line, as somebody at a keyboard does, and wants it back.
func tryInteractive(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+command)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	giveUp := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer func() {
		giveUp.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	}()
	io.WriteString(in, "a line\n")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "a line\n" || err != nil {
		t.Errorf("%s: %q, %v", command, line, err)
	}
}

// testBusy lets the limit pass while echo is stuck in writing to a client that does not read.
func testBusy(t *testing.T, bin string) {
	c := spawn(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json", "--shutdown-timeout", "100ms")
	clog(t, dial(t, transport.TCP{}, c.log.addr(t, "a")))
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitCut)
	c.log.event(t, "ended; connections that went on past the limit were closed", map[string]any{"closed": 1.0})
}

// clog sends, and reads nothing of what comes back, until the server waits in its write.
func clog(t *testing.T, nc net.Conn) {
	t.Helper()
	for chunk := make([]byte, 1<<20); ; {
		// When the kernel takes nothing for so long, every buffer on the way and back is full.
		nc.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := nc.Write(chunk); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// testTwice sends a second signal while the first one's drain goes on.
func testTwice(t *testing.T, bin string) {
	c := spawn(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json", "--shutdown-timeout", "infinity")
	clog(t, dial(t, transport.TCP{}, c.log.addr(t, "a")))
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.log.event(t, "draining", map[string]any{"connections": 1.0})
	c.cmd.Process.Signal(syscall.SIGINT)
	c.exits(t, 130)
}

func testJSON(t *testing.T, bin string) {
	c := spawn(t, bin, "--listen", "tls://127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--quiet")
	addr := c.log.addr(t, "echo-tls")
	nc := dial(t, trusting(t, c.log.event(t, "TLS has a self-signed certificate made in memory, for trying out only", nil)["sha256"].(string)), addr)
	echoes(t, nc)
	c.cmd.Process.Signal(syscall.SIGINT)
	c.exits(t, exitInOrder)
	if c.out.String() != "" {
		t.Errorf("--quiet prints %q", &c.out)
	}
	for line := range strings.Lines(c.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	c.log.event(t, "connection ended", map[string]any{"reason": "shutdown"})
}

func testSignals(t *testing.T, bin string) {
	c := spawn(t, bin, "--listen", "a=127.0.0.1:0", "--log-format", "json")
	c.log.event(t, "serving", nil)
	c.cmd.Process.Signal(syscall.SIGUSR1)
	c.log.event(t, "info", map[string]any{"listener": "a"})
	c.cmd.Process.Signal(syscall.SIGINT)
	c.exits(t, exitInOrder)
}

// testReaderGone takes the log's reader away, which must not take the server with it.
func testReaderGone(t *testing.T, bin string) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(bin, "--listen", "a=127.0.0.1:0", "--log-level", "debug")}
	c.cmd.Stderr = w
	c.start(t)
	w.Close() // the child has its own, so that its end would be the pipe's
	var addr string
	for lines := bufio.NewScanner(r); addr == "" && lines.Scan(); {
		if m := regexp.MustCompile(`listener started.* addr=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	if addr == "" {
		t.Fatal("it ended without listening")
	}
	r.Close()
	for range 3 { // each writes lines of the log
		nc := dial(t, transport.TCP{}, addr)
		echoes(t, nc)
		nc.Close()
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitInOrder)
}

func testUsage(t *testing.T, bin string) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, exitInOrder, "Exit codes:"},
		{[]string{"--version"}, exitInOrder, "ranchd "},
		{[]string{"--check"}, exitInOrder, "echo-tls=tls://127.0.0.1:8008"},
		{[]string{"--check"}, exitInOrder, "packet-tcp=packet+tcp://127.0.0.1:8082"},
		{[]string{"--max-connections", "many"}, exitUsage, `--max-connections "many"`},
		{[]string{"--cert", "missing.pem", "--key", "missing.key"}, exitUsage, `--key "missing.key": no such file`},
	} {
		p := spawn(t, bin, c.args...)
		p.exits(t, c.code)
		if all := p.out.String() + p.log.String(); !strings.Contains(all, c.says) {
			t.Errorf("%q does not say %q:\n%s", c.args, c.says, all)
		}
	}
}

// testPermission listens in a directory that only its owner may write to. root may do so
// everywhere, so then it runs as another.
func testPermission(t *testing.T, bin, binDir string) {
	dir := t.TempDir()
	cmd := exec.Command(bin, "--log-format", "json", "--listen", "a=127.0.0.1:0", "--listen", "b=unix:"+dir+"/a.sock")
	mode := os.FileMode(0o500)
	if os.Getuid() == 0 {
		mode = 0o555
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for _, d := range []string{binDir, dir} { // so that the other gets at them
			if err := os.Chmod(filepath.Dir(d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	c := &child{cmd: cmd}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &c.out, &c.log
	if probe := exec.Command(bin, "--version"); cmd.SysProcAttr != nil {
		probe.Dir, probe.SysProcAttr = "/", cmd.SysProcAttr
		if err := probe.Run(); err != nil {
			t.Skipf("root cannot run the program as another user here: %v; run the tests as a user: su nobody -s /bin/sh -c 'go test ./cmd/ranchd'", err)
		}
	}
	c.start(t)
	c.exits(t, exitFailed)
	e := c.log.event(t, "a listener could not be started", map[string]any{"listener": "b", "addr": "unix:" + dir + "/a.sock"})
	if advice, _ := e["advice"].(string); !strings.Contains(advice, dir) {
		t.Errorf("advice %q does not name the directory", advice)
	}
	if nc, err := net.Dial("tcp", c.log.addr(t, "a")); err == nil {
		nc.Close()
		t.Error("the first listener is left running")
	}
}
