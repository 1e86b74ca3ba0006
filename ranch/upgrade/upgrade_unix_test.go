//go:build unix

package upgrade_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func tcpConfig() childConfig {
	return childConfig{Listeners: []childListener{{Ref: "tcp", Addr: "127.0.0.1:0"}}, Timeout: 20 * time.Second}
}

// A successor serves on the same port; the connections of the predecessor continue.
func TestUpgrade(t *testing.T) {
	c := tcpConfig()
	c.Drain = testTimeout
	f, first := startFleet(t, c)
	addr := first.Addrs["tcp"]
	old := f.dial("tcp", addr)
	old.echo()
	second := f.upgrade(first.PID)
	if second.Addrs["tcp"] != addr || second.Generation != 2 {
		t.Errorf("successor: got address %s and generation %d, want %s and 2", second.Addrs["tcp"], second.Generation, addr)
	}
	f.dial("tcp", addr).echo()
	old.echo()
	third := f.upgrade(second.PID)
	if third.Addrs["tcp"] != addr || third.Generation != 3 {
		t.Errorf("successor of the successor: got address %s and generation %d, want %s and 3", third.Addrs["tcp"], third.Generation, addr)
	}
	f.dial("tcp", addr).echo()
	old.echo()
	f.signal(third.PID, syscall.SIGTERM)
	f.wait(third.PID, "exit")
}

// The file of a Unix socket passes to the successor: the end of the predecessor does not remove it,
// and that of the last process does.
func TestUpgradeUnixSocket(t *testing.T) {
	f, first := startFleet(t, childConfig{Timeout: 20 * time.Second})
	f.signal(first.PID, syscall.SIGTERM)
	f.wait(first.PID, "exit")
	path := filepath.Join(f.dir, "s")
	f.configure(childConfig{Timeout: 20 * time.Second, Listeners: []childListener{{Ref: "unix", Addr: "unix:" + path}}})
	p := f.wait(f.start(), "serving")
	for range 2 {
		f.dial("unix", path).echo()
		next := f.upgrade(p.PID)
		f.wait(p.PID, "exit")
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("file after the end of the predecessor: got %v, want it to exist", err)
		}
		p = next
	}
	f.dial("unix", path).echo()
	f.signal(p.PID, syscall.SIGTERM)
	f.wait(p.PID, "exit")
	if _, err := os.Lstat(path); err == nil {
		t.Error("file after the end of the last process: got a file, want none")
	}
}

// Between the moment at which the predecessor stops accepting and that at which the successor
// begins, clients wait in the queue.
func TestOneAcceptsAtATime(t *testing.T) {
	c := tcpConfig()
	c.Drain = testTimeout
	f, first := startFleet(t, c)
	c.Mode = "ready wait"
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	second := f.wait(0, "waiting")
	var clients []client
	for range 20 {
		clients = append(clients, f.dial("tcp", first.Addrs["tcp"]))
	}
	f.goOn()
	f.wait(second.PID, "serving")
	for _, c := range clients {
		c.echo()
	}
	f.signal(first.PID, syscall.SIGKILL)
	waitGone(t, first.PID)
	for _, c := range clients {
		c.echo() // by the successor
	}
}

// A successor that fails in any way leaves the predecessor serving, and a later upgrade works.
func TestFailedUpgrade(t *testing.T) {
	for _, c := range []struct {
		mode    string
		timeout time.Duration
		want    string
	}{
		{"start exit 0", time.Minute, "exited with code 0"},
		{"start exit 7", time.Minute, "exit status 7"},
		{"start crash", time.Minute, "killed"},
		{"start hang", 300 * time.Millisecond, "does not serve after 300ms"},
		{"start garbage", time.Minute, "bad frame"},
		{"start old", time.Minute, "exit status 1"},
		{"adopted exit 0", time.Minute, "exited with code 0"},
		{"adopted hang", 300 * time.Millisecond, "does not serve after 300ms"},
		{"listening crash", time.Minute, "killed"},
		{"listening hang", 500 * time.Millisecond, "does not serve after 500ms"},
		{"ready crash", time.Minute, "killed"}, // the predecessor has stopped accepting
		{"ready hang", 500 * time.Millisecond, "does not serve after 500ms"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			config := tcpConfig()
			config.Timeout = c.timeout
			f, first := startFleet(t, config)
			addr := first.Addrs["tcp"]
			old := f.dial("tcp", addr)
			old.echo()
			config.Mode = c.mode
			if c.mode == "start old" { // it opens the same address, which is in use
				config.Listeners[0].Addr = addr
			}
			f.configure(config)
			if got := f.failUpgrade(first.PID); !strings.Contains(got, c.want) || !strings.Contains(got, "this process continues to serve") {
				t.Errorf("got error %q, want %q in it", got, c.want)
			}
			old.echo()
			f.dial("tcp", addr).echo()
			config = tcpConfig()
			f.configure(config)
			if c.timeout < time.Minute {
				return // the limit is that of the running process
			}
			next := f.upgrade(first.PID)
			if next.Addrs["tcp"] != addr {
				t.Errorf("address after the second try: got %s, want %s", next.Addrs["tcp"], addr)
			}
			f.dial("tcp", addr).echo()
		})
	}
}
