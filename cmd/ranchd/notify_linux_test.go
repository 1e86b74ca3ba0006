package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"goranch/internal/sdnotify"
)

// manager is a service manager: a datagram socket, which is read at once because its queue is
// short.
type manager struct {
	name      string
	datagrams chan string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{fmt.Sprintf("@ranchd-test-%d-%d", os.Getpid(), time.Now().UnixNano()), make(chan string, 10_000)}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.name})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			m.datagrams <- string(b[:n])
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return m
}

// receive returns the next datagram.
func (m *manager) receive(t *testing.T) string {
	t.Helper()
	select {
	case s := <-m.datagrams:
		return s
	case <-time.After(timeout):
		t.Fatalf("service manager: got nothing within %v, want a datagram", timeout)
		panic("unreachable")
	}
}

// next returns the next datagram that is not a sign of life.
func (m *manager) next(t *testing.T) []string {
	t.Helper()
	for {
		if s := m.receive(t); s != sdnotify.Watchdog {
			return strings.Split(s, "\n")
		}
	}
}

// queued returns the datagrams that were sent before.
func (m *manager) queued(t *testing.T) (all []string) {
	t.Helper()
	const end = "the end"
	c, err := net.Dial("unixgram", m.name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(end)); err != nil {
		t.Fatal(err)
	}
	for {
		s := m.receive(t)
		if s == end {
			return all
		}
		all = append(all, s)
	}
}

// want compares the names of the variables of the next datagram.
func (m *manager) want(t *testing.T, names ...string) []string {
	t.Helper()
	got := m.next(t)
	for i, name := range names {
		if i >= len(got) || !strings.HasPrefix(got[i], name) {
			t.Fatalf("service manager: got %q, want %q", got, names)
		}
	}
	return got
}

// The service manager learns of start, reload, upgrade and stop, each in one datagram, and of a
// successor before that says that it is ready.
func TestNotify(t *testing.T) {
	bin := buildProgram(t)
	m := newManager(t)
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	if err := os.WriteFile(file, []byte("admin = \"none\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startUpgradable(t, bin, []string{"NOTIFY_SOCKET=" + m.name, "WATCHDOG_USEC=300000"}, "-c", file)
	pid := p.serving(t, 0)
	m.want(t, "READY=1", "STATUS=serving")
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.want(t, "RELOADING=1", "MONOTONIC_USEC=")
	m.want(t, "READY=1", "STATUS=serving")
	reloadWrong(t, m, pid, file)
	next := p.upgrade(t, pid)
	if got, want := m.want(t, "MAINPID=")[0], fmt.Sprintf("MAINPID=%d", next); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	m.want(t, "READY=1", "STATUS=serving")
	p.wantExit(t, exitOK) // without a word: STOPPING=1 would be understood of the successor
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.want(t, "STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=10000000")
	p.waitEnded(t, next)
	for _, d := range m.queued(t) {
		if strings.HasPrefix(d, "STOPPING=1") {
			t.Error("got STOPPING=1 twice, want it of the successor only")
		}
	}
}

// reloadWrong reloads a wrong configuration, which the status says until the next reload.
func reloadWrong(t *testing.T, m *manager, pid int, file string) {
	t.Helper()
	valid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fault := "STATUS=serving; the last reload has failed: " + file + ":1: unknown key"
	for _, c := range []struct {
		text, want string
	}{
		{"x = 1\ny = 2\n", fault},
		{string(valid), "STATUS=serving"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m.want(t, "RELOADING=1", "MONOTONIC_USEC=")
		m.want(t, c.want)
		got := m.want(t, "READY=1", c.want)[1]
		if c.want == fault && !strings.HasSuffix(got, " (and 1 more, in the log)") || c.want != fault && got != c.want {
			t.Errorf("status after a reload: got %q, want %q and the number of other faults", got, c.want)
		}
	}
}

// The status stays below the limit of a datagram, and has no control characters.
func TestReloadFaultIsCut(t *testing.T) {
	n := newNotifier(slog.New(slog.DiscardHandler))
	n.reloadEnded([]error{errors.New("\x1b[2J" + strings.Repeat("é", 5000))})
	got := n.serving()
	if !strings.Contains(got, `failed: \u001b[2Jé`) || len(got) > 1000 || !utf8.ValidString(got) {
		t.Errorf("got %d bytes: %q, want fewer than 1000, in valid UTF-8", len(got), got)
	}
	n.reloadEnded(nil)
	if got, want := n.serving(), "serving"; got != want {
		t.Errorf("after a reload: got %q, want %q", got, want)
	}
}

// A sign of life is sent only after all acceptors have answered.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", m.name)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	n := newNotifier(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.watch(ctx, func(ctx context.Context) error {
			select {
			case err := <-answers:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	wantSign := func() {
		t.Helper()
		if got := m.receive(t); got != sdnotify.Watchdog {
			t.Errorf("got %q, want a sign of life", got)
		}
	}
	answers <- nil
	wantSign()
	answers <- errors.New("acceptor 3 has not answered")
	answers <- errors.New("acceptor 3 has not answered")
	if got := m.queued(t); len(got) > 0 {
		t.Errorf("without an answer: got %q, want no sign of life", got)
	}
	answers <- nil
	wantSign()
	cancel()
	<-done
}
