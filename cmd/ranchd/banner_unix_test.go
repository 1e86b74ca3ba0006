//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testBanner runs the commands of the banner as they are printed, each with its client.
func testBanner(t *testing.T, bin string) {
	t.Run("nc", func(t *testing.T) {
		requireProgram(t, "nc", "netcat-openbsd")
		sock := filepath.Join(t.TempDir(), "a'b.sock") // must be quoted for the shell
		p := startProcess(t, bin, "--listen", "tcp://127.0.0.1:0", "--listen", "unix:"+sock, "--listen", "packet+tcp://127.0.0.1:0",
			"--listen", "shell+tcp://127.0.0.1:0", "--listen", "topics+tcp://127.0.0.1:0")
		for listener, want := range map[string]string{
			"echo-tcp": `^hello$`, "echo-unix": `^hello$`, "packet-tcp": `"jsonrpc":"2.0","result":"`,
			"shell-tcp": `whoami`, "topics-tcp": `"}\x01ACK\x01`,
		} {
			checkTryCommand(t, p, listener, want)
		}
	})
	t.Run("curl", func(t *testing.T) {
		requireProgram(t, "curl", "curl")
		p := startProcess(t, bin, "--listen", "web+tcp://127.0.0.1:0")
		url := strings.TrimPrefix(p.tryCommand(t, "web-tcp"), "open in a browser: ")
		if out, err := exec.Command("curl", "-sS", url).Output(); !strings.Contains(string(out), "<html") {
			t.Errorf("curl %s: got %q and error %v, want a page", url, out, err)
		}
	})
	t.Run("openssl", func(t *testing.T) {
		requireProgram(t, "openssl", "openssl")
		p := startProcess(t, bin, "--listen", "tls://127.0.0.1:0", "--listen", "tls+unix:"+filepath.Join(t.TempDir(), "tls.sock"),
			"--listen", "packet+tls://127.0.0.1:0")
		checkTryCommand(t, p, "packet-tls", `"jsonrpc":"2.0","result":"`)
		for _, listener := range []string{"echo-tls", "echo-tls-unix"} {
			checkInteractive(t, p.tryCommand(t, listener))
		}
	})
}

// checkTryCommand runs the command of a listener until its output matches a pattern. A command may
// then wait for more, as a subscriber of topics does.
func checkTryCommand(t *testing.T, p *process, listener, pattern string) {
	t.Helper()
	command := p.tryCommand(t, listener)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	want := regexp.MustCompile(pattern)
	out, err := runUntil(ctx, t, command, want)
	for err == io.EOF && ctx.Err() == nil { // some give the server a second, which a busy machine exceeds
		out, err = runUntil(ctx, t, command, want)
	}
	if err != nil {
		t.Errorf("%s: got %q and error %v, want a match of %q", command, out, err, pattern)
	}
}

// runUntil runs a command until its output matches, and returns the output; [io.EOF] is its end.
func runUntil(ctx context.Context, t *testing.T, command string, want *regexp.Regexp) (out []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the whole pipeline
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); err == nil && !want.Match(bytes.TrimSpace(out)); {
		var n int
		n, err = stdout.Read(b)
		out = append(out, b[:n]...)
	}
	cancel()
	cmd.Wait()
	if want.Match(bytes.TrimSpace(out)) {
		err = nil
	}
	return out, err
}

// checkInteractive runs a command, sends it a line and wants the same line back.
func checkInteractive(t *testing.T, command string) {
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
	kill := time.AfterFunc(timeout, func() { cmd.Process.Kill() })
	defer func() {
		kill.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	}()
	io.WriteString(in, "a line\n")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "a line\n" || err != nil {
		t.Errorf("%s: got %q and error %v, want the line sent", command, line, err)
	}
}
