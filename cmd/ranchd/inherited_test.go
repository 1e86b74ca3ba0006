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

// testInherited hands it two sockets open, as descriptors 3 and 4, which outlive it.
func testInherited(t *testing.T, bin string) {
	c := &child{cmd: exec.Command(bin, "--listen", "a=fd:3", "--listen", "b=tls+fd:4", "--log-format", "json")}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.log
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
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, f)
		addrs = append(addrs, ln.Addr().String())
	}
	c.start(t)
	echoes(t, dial(t, transport.TCP{}, addrs[0]))
	sum := c.log.event(t, "TLS has a self-signed certificate made in memory, for trying out only", nil)["sha256"].(string)
	echoes(t, dial(t, trusting(t, sum), addrs[1]))
	if got := c.log.addr(t, "a"); got != addrs[0] {
		t.Errorf("it listens on %s, not %s", got, addrs[0])
	}
	if try := c.try(t, "a"); !strings.Contains(try, "nc -N 127.0.0.1 ") {
		t.Errorf("the banner says %q", try)
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitInOrder)
	dial(t, transport.TCP{}, addrs[0]) // waits for the next process

	none := spawn(t, bin, "--listen", "a=fd:3", "--log-format", "json")
	none.exits(t, exitFailed)
	e := none.log.event(t, "a listener could not be started", nil)
	if advice, _ := e["advice"].(string); !strings.Contains(advice, "descriptor 3") {
		t.Errorf("without a socket: %v", e)
	}
}

// testActivated starts it by socket activation, when its first client comes.
func testActivated(t *testing.T, bin string) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("SKIPPED: no systemd-socket-activate: apt-get install systemd")
	}
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: systemd is for Linux")
	}
	dir, err := os.MkdirTemp("", "rd") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	web, admin, name := filepath.Join(dir, "w"), filepath.Join(dir, "a"), filepath.Join(dir, "n")
	c := spawn(t, activate, "-l", web, "-l", admin, "-l", name, "--fdname=web:admin:web", bin, "--log-format", "json",
		"--listen", "w=systemd:web", "--listen", "v=systemd:web", "--listen", "a=tls+systemd:admin")
	c.log.line(t, "that it listens", func(line string) bool { return strings.Contains(line, "Listening on "+name) })
	echoes(t, dial(t, transport.TCP{}, "unix:"+web)) // only now it is started
	echoes(t, dial(t, transport.TCP{}, "unix:"+name))
	sum := c.log.event(t, "TLS has a self-signed certificate made in memory, for trying out only", nil)["sha256"].(string)
	echoes(t, dial(t, trusting(t, sum), "unix:"+admin))
	for listener, path := range map[string]string{"w": web, "v": name, "a": admin} {
		if got := c.log.addr(t, listener); got != "unix:"+path {
			t.Errorf("%s listens on %s, not %s", listener, got, path)
		}
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
	c.exits(t, exitInOrder)
	if _, err := os.Stat(web); err != nil {
		t.Errorf("the socket of systemd's is gone: %v", err)
	}

	c = spawn(t, bin, "--log-format", "json", "--listen", "systemd:web")
	c.exits(t, exitFailed)
	e := c.log.event(t, "a listener could not be started", nil)
	if advice, _ := e["advice"].(string); !strings.Contains(advice, "FileDescriptorName=web") {
		t.Errorf("without activation: %v", e)
	}
}
