package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// shellFloods are the clients of TestShellFlood.
var shellFloods = []flooder{
	{"dropped sessions with long histories", 4, nil, func(i int64) string {
		return strings.Repeat(fmt.Sprint("echo ", i, strings.Repeat("x", 7000), "\n"), 3)
	}, 1, 0},
	{"connections without a request", 4, nil, func(int64) string { return "" }, 1, 0},
	{"requests", 2, nil, func(int64) string { return strings.Repeat("help\n", 50) }, 0, 0},
	{"requests that are too long", 1, nil, func(int64) string { return strings.Repeat("x", 100_000) }, 0, 0},
}

// TestShellFlood checks that clients that flood the public shell of the built program with
// connections and with sessions that they leave behind keep neither an operator from the admin
// socket nor others from the shell, and that the memory of the program is bounded.
func TestShellFlood(t *testing.T) {
	requireDescriptors(t, 2500)
	admin := "unix:" + filepath.Join(t.TempDir(), "a")
	p := startProcess(t, buildProgram(t), "--listen", "s=shell+tcp://127.0.0.1:0", "--admin", admin, "--log-format", "json", "--quiet")
	addr := p.log.addr(t, "s")
	p.log.event(t, "serving", nil)
	first := wantSession(t, addr)
	h := honest{p: p, act: func(int) {
		if got := operate(t, admin, "status"); !strings.HasPrefix(got, "Status") {
			t.Errorf("status: got %q, want the status", got)
		}
		wantSession(t, addr)
	}}
	f, start := startFlood(t, addr, shellFloods), time.Now()
	for time.Since(start) < 6*floodTime() {
		h.round(t)
	}
	f.finish()
	resumeSession(t, addr, first)

	occupy(t, addr, 1100)
	h.act = func(int) {
		if got := operate(t, admin, "listeners s"); !strings.Contains(got, "1024") {
			t.Errorf("listeners: got %q, want the cap of 1024 in it", got)
		}
	}
	for range 10 {
		h.round(t)
	}
	operate(t, admin, "kill peer=127.2.0.0/16 --yes")
	h.act = func(int) { wantSession(t, addr) }
	h.round(t)
	h.check(t, shellFloodKB)
}

// wantSession starts a session, sends a request and leaves the session behind.
func wantSession(t *testing.T, addr string) (id string) {
	t.Helper()
	id, err := newSession(addr)
	if err != nil {
		t.Fatalf("session of the shell: %v", err)
	}
	return id
}

// operate runs a command at the admin socket and returns the output.
func operate(t *testing.T, admin, command string) string {
	t.Helper()
	nc := dial(t, transport.TCP{}, admin)
	defer nc.Close()
	io.WriteString(nc, command+"\nquit\n")
	r := bufio.NewReader(nc)
	r.ReadString('\n') // the session id
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: got %q and error %v, want an answer", command, b, err)
	}
	return string(b)
}

// occupy opens idle connections, more than the cap of a listener, from many addresses.
func occupy(t *testing.T, addr string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for i := range n {
		nc, err := dialFrom(ctx, net.IPv4(127, 2, 0, byte(1+i%250)), addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
	}
}

// requireDescriptors skips the test if this process or its children cannot open so many.
func requireDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < n {
		t.Skipf("SKIPPED: %d descriptors are allowed (%v); to run this test: ulimit -n %d", limit.Cur, err, n)
	}
}
