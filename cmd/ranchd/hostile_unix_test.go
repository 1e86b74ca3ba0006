//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// TestHostile tests the built program under conditions that break servers.
func TestHostile(t *testing.T) {
	bin := buildProgram(t)
	t.Run("unreadLog", func(t *testing.T) { t.Parallel(); testUnreadLog(t, bin) })
	t.Run("unreadOutput", func(t *testing.T) { t.Parallel(); testUnreadOutput(t, bin) })
	t.Run("fallbacks", func(t *testing.T) { testFallbacks(t, bin) })
	t.Run("inheritedSignals", func(t *testing.T) { testInheritedSignals(t, bin) })
	t.Run("httpToTheShell", func(t *testing.T) { t.Parallel(); testHTTPToTheShell(t, bin) })
	t.Run("exhaustedDescriptors", func(t *testing.T) { t.Parallel(); testExhaustedDescriptors(t, bin) })
	t.Run("floodOfWarnings", func(t *testing.T) { t.Parallel(); testFloodOfWarnings(t, bin) })
	t.Run("nasty", func(t *testing.T) { t.Parallel(); testNasty(t, bin) })
}

// fullPipe returns the write end of a pipe that nothing reads and that is full.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	w.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for err == nil {
		_, err = w.Write(make([]byte, 4096))
	}
	w.SetWriteDeadline(time.Time{})
	return w
}

// testUnreadLog gives the program a log that nothing reads: it serves, and stops at a signal.
func testUnreadLog(t *testing.T, bin string) {
	dir := t.TempDir()
	p := &process{cmd: exec.Command(bin, "--listen", "a=unix:"+dir+"/s", "--log-level", "debug", "--quiet", "--admin", "none")}
	p.cmd.Stderr = fullPipe(t)
	p.start(t)
	for i := range 500 { // more debug lines than the pipe holds
		checkEcho(t, dialWhenReady(t, "unix:"+dir+"/s", i == 0))
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

// dialWhenReady dials a server, which may be starting.
func dialWhenReady(t *testing.T, addr string, starting bool) net.Conn {
	t.Helper()
	end := time.Now().Add(timeout)
	for {
		nc, err := transport.TCP{}.Dial(t.Context(), addr)
		if err == nil {
			t.Cleanup(func() { nc.Close() })
			return nc
		}
		if !starting || time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// testUnreadOutput gives the program an output that nothing reads: the list of listeners must not
// keep it from stopping.
func testUnreadOutput(t *testing.T, bin string) {
	p := &process{cmd: exec.Command(bin, "--listen", "a=127.0.0.1:0", "--log-format", "json", "--admin", "none")}
	p.cmd.Stdout, p.cmd.Stderr = fullPipe(t), &p.log
	p.start(t)
	p.log.event(t, "serving", nil)
	checkEcho(t, dial(t, transport.TCP{}, p.log.addr(t, "a")))
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
}

// testFallbacks starts the program without flags where its default addresses cannot be used.
func testFallbacks(t *testing.T, bin string) {
	ports := []string{"8007", "8008", "8080", "8081", "8082", "8083"}
	for _, port := range ports { // some may be in use by other programs already, which is as good
		if ln, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			defer ln.Close()
		}
	}
	p := &process{cmd: exec.Command(bin, "--log-format", "json")}
	p.cmd.Env = append(os.Environ(), "RANCHD_ADMIN=auto", "XDG_RUNTIME_DIR="+t.TempDir()+"/missing", "TMPDIR="+t.TempDir())
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	p.start(t)
	p.log.event(t, "serving", map[string]any{"listeners": 7.0})
	p.log.event(t, "the default address cannot be used; listening on another", map[string]any{"listener": "shell-tcp", "addr": "127.0.0.1:8080"})
	p.log.event(t, "the default address cannot be used; listening on another", map[string]any{"listener": "admin"})
	p.out.line(t, "the remark about the shell", func(line string) bool { return strings.Contains(line, "default 127.0.0.1:8080 could not be used") })
	checkEcho(t, dial(t, transport.TCP{}, p.log.addr(t, "echo-tcp")))
	socket := strings.TrimPrefix(p.log.addr(t, "admin"), "unix:")
	if i, err := os.Stat(filepath.Dir(socket)); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("directory of %s: got %v, %v, want mode 0700", socket, i.Mode(), err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
	given := startProcess(t, bin, "--listen", "tcp://127.0.0.1:8007", "--admin", "none")
	given.wantExit(t, exitFailed) // an address that was given is not replaced
}

// testInheritedSignals checks that a program of the shell does not inherit an ignored SIGPIPE, nor
// the environment, the limit of open files, or descriptors of the server.
func testInheritedSignals(t *testing.T, bin string) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED: there is no sh on this system")
	}
	ls, err := exec.LookPath("ls")
	if err != nil {
		t.Skip("SKIPPED: there is no ls on this system")
	}
	script := filepath.Join(t.TempDir(), "script")
	text := "#!" + sh + "\n(while :; do echo x; done) | head -1\necho secret=$SECRET files=$(ulimit -n) dir=$(pwd)\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET", "of the server")
	p := startProcess(t, bin, "--listen", "s=shell+tcp://127.0.0.1:0", "--log-format", "json", "--admin", "none", "--program", "run="+script, "--program", "fds="+ls+" /proc/self/fd", "--shell-root", "none")
	nc := dial(t, transport.TCP{}, p.log.addr(t, "s"))
	nc.SetDeadline(time.Now().Add(timeout))
	io.WriteString(nc, "run\n")
	r := bufio.NewReader(nc)
	r.ReadString('\n') // the session id
	for _, want := range []string{"x\n", "secret= files=1024 dir=/\n"} {
		if got, err := r.ReadString('\n'); got != want {
			t.Errorf("got %q and error %v, want %q", got, err, want)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	io.WriteString(nc, "fds\necho end\n")
	fds, err := r.ReadString('d')
	if fds != "0\n1\n2\n3\nend" { // 3 is the directory that ls lists
		t.Errorf("got open descriptors %q and error %v, want 0 to 3", fds, err)
	}
}

// testHTTPToTheShell sends what a web page can make a browser send: an HTTP POST with a command in
// its body.
func testHTTPToTheShell(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "s=shell+tcp://127.0.0.1:0", "--listen", "p=packet+tcp://127.0.0.1:0", "--listen", "t=topics+tcp://127.0.0.1:0",
		"--log-format", "json", "--log-level", "debug", "--admin", "none")
	for _, name := range []string{"s", "p", "t"} {
		nc := dial(t, transport.TCP{}, p.log.addr(t, name))
		nc.SetDeadline(time.Now().Add(timeout))
		io.WriteString(nc, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\nset hacked yes\nstatus\n\x00{\"action\":\"subscribe\",\"data\":\"a\"}\x00")
		if got, _ := io.ReadAll(nc); strings.Contains(string(got), "Status") || strings.Contains(string(got), "ACK") {
			t.Errorf("%s: got %q, want no answer to a command", name, got)
		}
		p.log.event(t, "connection ended", map[string]any{"listener": name, "reason": "bad input"})
	}
}

// testExhaustedDescriptors opens connections until the program has no descriptors: operators can
// connect.
func testExhaustedDescriptors(t *testing.T, bin string) {
	prlimit := requireProgram(t, "prlimit", "util-linux")
	dir := t.TempDir()
	p := startProcess(t, prlimit, "--nofile=200:200", bin, "--listen", "a=127.0.0.1:0", "--listen", "b=127.0.0.1:0", "--log-format", "json", "--admin", "unix:"+dir+"/admin")
	addr := p.log.addr(t, "a")
	for range 250 {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	p.log.event(t, "accept failed", map[string]any{"listener": "a"})
	p.log.event(t, "alarm", nil)
	time.Sleep(1200 * time.Millisecond) // the alarms look once a second
	if n := strings.Count(p.log.String(), `"msg":"alarm"`); n != 1 {
		t.Errorf("got %d alarms, want one for the process", n)
	}
	for range 3 {
		nc := dial(t, transport.TCP{}, "unix:"+dir+"/admin")
		nc.SetDeadline(time.Now().Add(timeout))
		io.WriteString(nc, "status\n")
		r := bufio.NewReader(nc)
		r.ReadString('\n') // the session id
		if got, err := r.ReadString('\n'); !strings.HasPrefix(got, "Status") {
			t.Errorf("got %q and error %v, want the status", got, err)
		}
		nc.Close()
	}
}

// testFloodOfWarnings refuses many connections: the log counts most of them.
func testFloodOfWarnings(t *testing.T, bin string) {
	p := startProcess(t, bin, "--listen", "s=shell+tcp://127.0.0.1:0", "--log-format", "json", "--admin", "none", "--max-sessions", "1")
	addr := p.log.addr(t, "s")
	first := dial(t, transport.TCP{}, addr) // has the one session
	defer first.Close()
	first.SetDeadline(time.Now().Add(timeout))
	fmt.Fprintln(first, "pwd")
	r := bufio.NewReader(first)
	for range 2 { // the session id and the answer
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	for range 500 {
		nc := dial(t, transport.TCP{}, addr)
		nc.SetDeadline(time.Now().Add(timeout))
		if _, err := io.ReadAll(nc); err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	most := sampled * (int(time.Since(begin)/time.Second) + 2)
	p.log.line(t, "a count of suppressed lines", func(line string) bool { return strings.Contains(line, `"suppressed":`) })
	if n := strings.Count(p.log.String(), `"msg":"connection ended"`); n > most {
		t.Errorf("got %d lines for 500 refused connections, want at most %d", n, most)
	}
}
