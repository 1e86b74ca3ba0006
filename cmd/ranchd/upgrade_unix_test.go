//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pubsub "goranch/protocol/pubsub/client"
	shell "goranch/protocol/shell/client"
	"goranch/transport"
)

// startUpgradable starts the program.
func startUpgradable(t *testing.T, bin string, env []string, args ...string) *process {
	t.Helper()
	p := newUpgradable(t, bin, env, args...)
	p.start(t)
	return p
}

// newUpgradable returns a process that is not started yet. Its successors log to the same output,
// and are killed at the end of the test.
func newUpgradable(t *testing.T, bin string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(bin, append([]string{"--log-format", "json", "--upgrade-drain", "0s"}, args...)...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its successors
	pipe := func(o *output) *os.File {
		r, w, err := os.Pipe() // with the pipes of package exec, Wait would wait for the successors
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan struct{})
		go func() {
			defer close(end)
			copyTo(o, r)
			r.Close()
		}()
		t.Cleanup(func() { <-end })
		return w
	}
	out, log := pipe(&p.out), pipe(&p.log)
	p.cmd.Stdout, p.cmd.Stderr = out, log
	t.Cleanup(func() { // before the pipes are waited for
		out.Close()
		log.Close()
		if p.cmd.Process != nil {
			syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("log:\n%s", &p.log)
		}
	})
	return p
}

func copyTo(o *output, r *os.File) {
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b)
		if n > 0 {
			o.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

// serving waits for the message of the next process that serves, and returns its process id.
func (p *process) serving(t *testing.T, predecessor int) (pid int) {
	t.Helper()
	e := p.log.event(t, "serving", map[string]any{"predecessor": float64(predecessor)})
	return int(e["pid"].(float64))
}

// upgrade upgrades the process with this id and returns that of the successor.
func (p *process) upgrade(t *testing.T, pid int) int {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	return p.serving(t, pid)
}

// stop stops the last process and waits for its end.
func (p *process) stopSuccessor(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitEnded(t, pid)
}

// waitEnded waits for the end of a successor.
func (p *process) waitEnded(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(timeout); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is running after %v; log:\n%s", pid, timeout, &p.log)
		}
	}
}

// TestUpgrades upgrades the built program in its own process.
func TestUpgrades(t *testing.T) {
	bin := buildProgram(t)
	t.Run("listeners", func(t *testing.T) { t.Parallel(); testUpgradeListeners(t, bin) })
	t.Run("command", func(t *testing.T) { t.Parallel(); testUpgradeCommand(t, bin) })
	t.Run("configuration", func(t *testing.T) { t.Parallel(); testUpgradeConfiguration(t, bin) })
	t.Run("fallback", func(t *testing.T) { t.Parallel(); testUpgradeFallback(t, bin) })
	t.Run("inherited", func(t *testing.T) { t.Parallel(); testUpgradeInherited(t, bin) })
	t.Run("elsewhere", func(t *testing.T) { t.Parallel(); testUpgradeElsewhere(t, bin) })
	t.Run("drain", func(t *testing.T) { t.Parallel(); testUpgradeDrain(t, bin) })
}

// All kinds of listeners are handed over, twice.
func testUpgradeListeners(t *testing.T, bin string) {
	dir, err := os.MkdirTemp("", "rd") // the paths of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, admin := filepath.Join(dir, "s"), filepath.Join(dir, "a")
	cert, key := newCertificateFiles(t)
	p := startUpgradable(t, bin, nil, "--listen", "tcp=127.0.0.1:0", "--listen", "tls=tls://127.0.0.1:0", "--listen", "unix=unix:"+socket,
		"--cert", cert, "--key", key, "--admin", "unix:"+admin)
	pid := p.serving(t, 0)
	if pid != p.cmd.Process.Pid {
		t.Fatalf("pid: got %d, want %d", pid, p.cmd.Process.Pid)
	}
	tcp, tls := p.log.addr(t, "tcp"), p.log.addr(t, "tls")
	for range 2 {
		pid = p.upgrade(t, pid)
		checkEcho(t, dial(t, transport.TCP{}, tcp))
		checkEcho(t, dial(t, tlsByFile(t, cert), tls))
		checkEcho(t, dial(t, transport.TCP{}, "unix:"+socket))
		checkEcho(t, dial(t, transport.TCP{}, tcp))
	}
	p.wantExit(t, exitOK)
	if n := strings.Count(p.log.String(), `"msg":"upgrade succeeded`); n != 2 {
		t.Errorf("messages of success: got %d, want 2", n)
	}
	c, err := shell.Dial(t.Context(), shell.Options{Addr: "unix:" + admin})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	p.stopSuccessor(t, pid)
	for _, path := range []string{socket, admin} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s after the end: got a file, want none", path)
		}
	}
}

// The command shows the progress and the result, and sessions of the shell and of topics resume in
// the successor.
func testUpgradeCommand(t *testing.T, bin string) {
	root, state := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	admin := "unix:" + filepath.Join(t.TempDir(), "a")
	p := startUpgradable(t, bin, nil, "--listen", "s=shell+tcp://127.0.0.1:0", "--listen", "t=topics+tcp://127.0.0.1:0",
		"--admin", admin, "--shell-root", root, "--state", state, "--quiet")
	pid := p.serving(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()

	resumed := make(chan bool, 10)
	sh, err := shell.Dial(ctx, shell.Options{Addr: p.log.addr(t, "s"), OnConnect: func(r bool) { resumed <- r }})
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close()
	<-resumed
	if _, err := sh.Call(ctx, "cd sub"); err != nil {
		t.Fatal(err)
	}
	connected := make(chan pubsub.ConnectInfo, 10)
	subscriber, err := pubsub.Dial(ctx, pubsub.Options{Addr: p.log.addr(t, "t"), OnConnect: func(i pubsub.ConnectInfo) { connected <- i }})
	if err != nil {
		t.Fatal(err)
	}
	defer subscriber.Close()
	<-connected
	sub, err := subscriber.Subscribe(ctx, "news", pubsub.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}

	progress := make(chan string, 100)
	operator, err := shell.Dial(ctx, shell.Options{Addr: admin, NoReconnect: true, OnOutput: func(b []byte) { progress <- string(b) }})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	a, err := operator.Call(ctx, "upgrade")
	if err != nil || !strings.Contains(string(a.Result), `"sockets":3`) {
		t.Fatalf("upgrade: got %+v and error %v, want 3 sockets", a, err)
	}
	if first := <-progress; !strings.Contains(first, "started process") || !strings.Contains(first, bin) {
		t.Errorf("progress: got %q, want the process and the program", first)
	}
	successor := p.serving(t, pid)

	if r := <-resumed; !r {
		t.Error("shell: got a new session, want the old one")
	}
	if a, err := sh.Call(ctx, "pwd"); err != nil || string(a.Result) != `"/sub"` {
		t.Errorf("shell: got %+v and error %v, want /sub", a, err)
	}
	if i := <-connected; !i.Resumed {
		t.Errorf("topics: got %+v, want a resumed session", i)
	}
	publisher, err := pubsub.Dial(ctx, pubsub.Options{Addr: p.log.addr(t, "t")})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	if _, err := publisher.Publish(ctx, "news", "greeting", "1", "hello"); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-sub.C():
		if string(m.Data) != `"hello"` {
			t.Errorf("message: got %s, want hello", m.Data)
		}
	case <-ctx.Done():
		t.Error("got no message after the upgrade, want one")
	}
	p.wantExit(t, exitOK)
	p.stopSuccessor(t, successor)
}

// A configuration that is invalid at the time of the upgrade leaves the process serving, and the
// operator sees the fault.
func testUpgradeConfiguration(t *testing.T, bin string) {
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const good = "admin = \"none\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n"
	write(good)
	p := startUpgradable(t, bin, nil, "-c", file)
	pid := p.serving(t, 0)
	addr := p.log.addr(t, "a")
	write(good + "max-connections = \"many\"\n")
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	e := p.log.event(t, "upgrade failed; this process continues to serve", nil)
	if text := fmt.Sprint(e["err"]); !strings.Contains(text, "max-connections") || !strings.Contains(text, "ranchd.toml:5") {
		t.Errorf("error: got %q, want file, line and key", text)
	}
	checkEcho(t, dial(t, transport.TCP{}, addr))

	write(good + "[[listener]]\nname = \"b\"\naddress = \"unix:/no/such/directory/s\"\n")
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	p.log.line(t, "the second failure", func(line string) bool {
		return strings.Contains(line, "upgrade failed") && strings.Contains(line, "no such file or directory")
	})
	checkEcho(t, dial(t, transport.TCP{}, addr))

	write(good + "[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\n")
	next := p.upgrade(t, pid)
	checkEcho(t, dial(t, transport.TCP{}, addr))
	checkEcho(t, dial(t, transport.TCP{}, p.log.addr(t, "b")))
	p.stopSuccessor(t, next)
}

// A listener that has another address than its default keeps it.
func testUpgradeFallback(t *testing.T, bin string) {
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	text := "admin = \"none\"\n"
	var taken []net.Listener
	for _, l := range [][2]string{{"a", "echo"}, {"b", "shell"}} { // both listen on a free port instead
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		taken = append(taken, ln)
		text += fmt.Sprintf("[[listener]]\nname = %q\nprotocol = %q\naddress = %q\nfallback = true\n", l[0], l[1], ln.Addr())
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startUpgradable(t, bin, nil, "-c", file)
	pid := p.serving(t, 0)
	a, b := p.log.addr(t, "a"), p.log.addr(t, "b")
	for _, ln := range taken { // free now, but the listeners keep their addresses
		ln.Close()
	}
	next := p.upgrade(t, pid)
	p.wantExit(t, exitOK)
	checkEcho(t, dial(t, transport.TCP{}, a))
	nc := dial(t, transport.TCP{}, b)
	line := make([]byte, 21)
	if _, err := nc.Read(line); err != nil || !strings.HasPrefix(string(line), "Client") {
		t.Errorf("listener b: got %q and error %v, want the shell", line, err)
	}
	p.stopSuccessor(t, next)
}

// Sockets that the process has inherited are handed over too, and stay open at its end.
func testUpgradeInherited(t *testing.T, bin string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := newUpgradable(t, bin, nil, "--listen", "a=fd:3", "--admin", "none")
	p.cmd.ExtraFiles = []*os.File{f}
	p.start(t)
	pid := p.serving(t, 0)
	for range 2 {
		pid = p.upgrade(t, pid)
		checkEcho(t, dial(t, transport.TCP{}, ln.Addr().String()))
	}
	p.wantExit(t, exitOK)
	p.stopSuccessor(t, pid)
	dial(t, transport.TCP{}, ln.Addr().String()) // waits in the queue for the next process
}

// The connections of a replaced process continue for a part of --upgrade-drain. A signal to that
// process ends its drain, and is not for the successor.
func testUpgradeDrain(t *testing.T, bin string) {
	p := startUpgradable(t, bin, nil, "--listen", "a=127.0.0.1:0", "--admin", "none", "--upgrade-drain", "12h")
	pid := p.serving(t, 0)
	addr := p.log.addr(t, "a")
	old := dial(t, transport.TCP{}, addr)
	checkEcho(t, old)
	next := p.upgrade(t, pid)
	p.log.event(t, "listener draining", map[string]any{"listener": "a"})
	checkEcho(t, old)
	checkEcho(t, dial(t, transport.TCP{}, addr))
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection of the replaced process: got %v, want its end", err)
	}
	p.wantExit(t, exitOK)
	checkEcho(t, dial(t, transport.TCP{}, addr))
	p.stopSuccessor(t, next)
}

// A process that has a terminal cannot hand it over.
func TestUpgradeOfAConsole(t *testing.T) {
	d := newDaemon(mustParse(t, "--listen", "127.0.0.1:0", "--console"))
	if _, err := d.upgrade(t.Context(), func(string) {}); err != errConsole {
		t.Errorf("got %v, want errConsole", err)
	}
}
