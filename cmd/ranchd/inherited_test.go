//go:build unix

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"goranch/transport"
)

// testInherited passes two listening sockets as descriptors 3 and 4. They survive the process.
func testInherited(t *testing.T, bin string) {
	p := &process{cmd: exec.Command(bin, "--listen", "a=fd:3", "--listen", "b=tls+fd:4", "--log-format", "json")}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	var addrs []string
	for range 2 {
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
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		addrs = append(addrs, ln.Addr().String())
	}
	p.start(t)
	checkEcho(t, dial(t, transport.TCP{}, addrs[0]))
	checkEcho(t, dial(t, tlsByFingerprint(t, p.log.selfSigned(t)), addrs[1]))
	if got := p.log.addr(t, "a"); got != addrs[0] {
		t.Errorf("address: got %s, want %s", got, addrs[0])
	}
	if got := p.tryCommand(t, "a"); !strings.Contains(got, "nc -N 127.0.0.1 ") {
		t.Errorf("command of the banner: got %q, want nc", got)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
	dial(t, transport.TCP{}, addrs[0]) // waits in the accept queue for the next process

	p = startProcess(t, bin, "--listen", "a=fd:3", "--log-format", "json")
	p.wantExit(t, exitFailed)
	e := p.log.event(t, "starting a listener failed", nil)
	if hint, _ := e["hint"].(string); !strings.Contains(hint, "descriptor 3") {
		t.Errorf("without a socket: got %v, want descriptor 3 in the hint", e)
	}
}

// testActivated starts the program by socket activation.
func testActivated(t *testing.T, bin string) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: systemd requires Linux; to run this test: go test ./cmd/ranchd -run Binary/activated on Linux")
	}
	activate := requireProgram(t, "systemd-socket-activate", "systemd")
	dir, err := os.MkdirTemp("", "rd") // the paths of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	first, second, tls := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "t")
	p := startProcess(t, activate, "-l", first, "-l", tls, "-l", second, "--fdname=plain:tls:plain", bin, "--log-format", "json",
		"--listen", "a=systemd:plain", "--listen", "b=systemd:plain", "--listen", "c=tls+systemd:tls")
	p.log.line(t, "the last listening socket", func(line string) bool { return strings.Contains(line, "Listening on "+second) })
	checkEcho(t, dial(t, transport.TCP{}, "unix:"+first)) // starts the program
	checkEcho(t, dial(t, transport.TCP{}, "unix:"+second))
	checkEcho(t, dial(t, tlsByFingerprint(t, p.log.selfSigned(t)), "unix:"+tls))
	for listener, path := range map[string]string{"a": first, "b": second, "c": tls} {
		if got := p.log.addr(t, listener); got != "unix:"+path {
			t.Errorf("address of %s: got %s, want %s", listener, got, path)
		}
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, exitOK)
	if _, err := os.Stat(first); err != nil {
		t.Errorf("socket file of systemd after the end: got %v, want it to exist", err)
	}

	p = startProcess(t, bin, "--log-format", "json", "--listen", "systemd:plain")
	p.wantExit(t, exitFailed)
	e := p.log.event(t, "starting a listener failed", nil)
	if hint, _ := e["hint"].(string); !strings.Contains(hint, "FileDescriptorName=plain") {
		t.Errorf("without activation: got %v, want FileDescriptorName=plain in the hint", e)
	}
}
