package sdnotify

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stub is a service manager: a datagram socket.
func stub(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("got error %v, want a datagram", err)
	}
	return string(b[:n])
}

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestSend(t *testing.T) {
	dir, err := os.MkdirTemp("", "sd") // the paths of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{filepath.Join(dir, "notify"), fmt.Sprintf("@sdnotify-test-%d", os.Getpid())} {
		c := stub(t, name)
		n, err := New(env(map[string]string{"NOTIFY_SOCKET": name}), os.Getpid())
		if err != nil || !n.Enabled() {
			t.Fatalf("New: got enabled %v and error %v, want a manager", n.Enabled(), err)
		}
		if err := n.Send(Ready, Status("a\nREADY=1\x1b[2J"), MainPID(7)); err != nil {
			t.Fatal(err)
		}
		want := "READY=1\nSTATUS=a\\u000aREADY=1\\u001b[2J\nMAINPID=7"
		if diff := cmp.Diff(want, receive(t, c)); diff != "" {
			t.Errorf("%s: one datagram (-want +got):\n%s", name, diff)
		}
		if err := n.Send(ExtendTimeout(1500*time.Millisecond), Stopping); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, c), "EXTEND_TIMEOUT_USEC=1500000\nSTOPPING=1"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// The manager ignores a reload whose time is before that of its request.
func TestReloading(t *testing.T) {
	before := monotonic()
	first, second, _ := strings.Cut(Reloading(), "\n")
	value, ok := strings.CutPrefix(second, "MONOTONIC_USEC=")
	usec, err := strconv.ParseInt(value, 10, 64)
	if first != "RELOADING=1" || !ok || err != nil {
		t.Fatalf("got %q and %q, want RELOADING=1 and MONOTONIC_USEC=…", first, second)
	}
	if got := time.Duration(usec) * time.Microsecond; got < before.Truncate(time.Microsecond) || got > monotonic() {
		t.Errorf("got %v, want a time from %v to now", got, before)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		vars    map[string]string
		enabled bool
		want    string // in the error
	}{
		{map[string]string{}, false, ""},
		{map[string]string{"NOTIFY_SOCKET": "relative"}, false, "absolute paths"},
		{map[string]string{"NOTIFY_SOCKET": "vsock:2:1234"}, false, "absolute paths"},
		{map[string]string{"NOTIFY_SOCKET": "@"}, false, "absolute paths"},
		{map[string]string{"NOTIFY_SOCKET": "/" + strings.Repeat("x", 107)}, false, "107 bytes"},
		{map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-1"}, true, "WATCHDOG_USEC"},
		{map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "9223372036854775807"}, true, "WATCHDOG_USEC"},
	} {
		n, err := New(env(c.vars), 1)
		if n.Enabled() != c.enabled || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got enabled %v, error %v; want %v, %q", c.vars, n.Enabled(), err, c.enabled, c.want)
		}
		if n.WatchdogInterval() != 0 {
			t.Errorf("%v: got interval %v, want 0", c.vars, n.WatchdogInterval())
		}
	}
}

func TestWatchdogInterval(t *testing.T) {
	for _, c := range []struct {
		pid  string
		want time.Duration
	}{{"", 3 * time.Second}, {"42", 3 * time.Second}, {"41", 0}, {"x", 0}} {
		n, err := New(env(map[string]string{"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": c.pid}), 42)
		if err != nil || n.WatchdogInterval() != c.want {
			t.Errorf("WATCHDOG_PID %q: got %v and error %v, want %v", c.pid, n.WatchdogInterval(), err, c.want)
		}
	}
}

// A manager that is gone costs an error, and no more.
func TestSendWithoutReceiver(t *testing.T) {
	n, err := New(env(map[string]string{"NOTIFY_SOCKET": "@sdnotify-test-nobody"}), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Send(Ready); err == nil {
		t.Error("got no error, want one")
	}
}

// systemd-notify sends the same as this package.
func TestSameAsSystemdNotify(t *testing.T) {
	path, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Skip("SKIPPED: systemd-notify is not installed; to run this test: apt-get install systemd")
	}
	name := fmt.Sprintf("@sdnotify-test-same-%d", os.Getpid())
	c := stub(t, name)
	cmd := exec.Command(path, "--no-block", "--ready", "--status=hello")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: systemd-notify --ready fails: %v: %s; to run this test: run it where that works", err, out)
	}
	theirs := receive(t, c)
	n, err := New(env(map[string]string{"NOTIFY_SOCKET": name}), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Send(Ready, Status("hello")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, receive(t, c)); diff != "" {
		t.Errorf("(-systemd-notify +this package):\n%s", diff)
	}
}
