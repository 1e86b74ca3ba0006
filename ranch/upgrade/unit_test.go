package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{Timeout: -1}, "Timeout"},
		{Options{Limit: -1}, "Limit"},
		{Options{MaxProcesses: 1}, "MaxProcesses"},
		{Options{MaxProcesses: 101}, "MaxProcesses"},
	} {
		if _, err := New(c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got error %v, want %s in it", c.opts, err, c.want)
		}
	}
}

// A process that was started with a wrong descriptor says so.
func TestNewRefusesBadDescriptors(t *testing.T) {
	for _, value := range []string{"", "x", "2", "-1", "65000"} {
		t.Setenv(variable, value)
		if _, err := New(Options{}); err == nil || supported && !strings.Contains(err.Error(), variable) {
			t.Errorf("%q: got error %v, want %s in it", value, err, variable)
		}
		if _, ok := os.LookupEnv(variable); ok {
			t.Errorf("%q: the variable is still set", value)
		}
	}
}

// Only a process that serves can be upgraded.
func TestUpgradeNotServing(t *testing.T) {
	if !supported {
		t.Skip("SKIPPED: upgrades need Unix; to run this test: go test ./ranch/upgrade on Unix")
	}
	u, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Upgrade(t.Context(), nil); !errors.Is(err, ErrNotServing) {
		t.Errorf("before Ready: got %v, want ErrNotServing", err)
	}
	if err := u.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(t.Context()); err == nil {
		t.Error("second Ready: got no error, want one")
	}
	u.Stop()
	if _, err := u.Upgrade(t.Context(), nil); !errors.Is(err, ErrNotServing) {
		t.Errorf("after Stop: got %v, want ErrNotServing", err)
	}
}

func TestProgramPath(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(self, link); err != nil {
		t.Skipf("SKIPPED: symbolic links: %v; to run this test: run it where they can be made", err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{self}, self},
		{[]string{link}, link},
		{[]string{"." + string(filepath.Separator) + "link"}, link},
		{[]string{other}, self}, // another name in the arguments
		{[]string{"no-such-program"}, self},
		{nil, self},
	} {
		if got := programPath(c.args, dir); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
}

// The successor gets no descriptors and process ids of its predecessor.
func TestSuccessorEnv(t *testing.T) {
	got := successorEnv([]string{"A=1", "LISTEN_FDS=2", "LISTEN_PID=7", "LISTEN_FDNAMES=a:b", "WATCHDOG_PID=7", "WATCHDOG_USEC=1", "NOTIFY_SOCKET=/n", variable + "=9"})
	want := []string{"A=1", "WATCHDOG_USEC=1", "NOTIFY_SOCKET=/n", variable + "=3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// fakeAcceptor records deadlines.
type fakeAcceptor struct {
	acceptor
	deadlines []time.Time
}

func (f *fakeAcceptor) SetDeadline(t time.Time) error {
	f.deadlines = append(f.deadlines, t)
	return nil
}

// While a gate is blocked, deadlines and a close end a wait as they end an Accept.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		ln := &fakeAcceptor{}
		if err := g.wait(); err != nil {
			t.Fatalf("open: got %v, want nil", err)
		}
		g.block(ln)
		result := make(chan error)
		wait := func() { go func() { result <- g.wait() }(); synctest.Wait() }
		wait()
		g.setDeadline(ln, time.Unix(1, 0))
		if err := <-result; err != os.ErrDeadlineExceeded {
			t.Errorf("deadline in the past: got %v, want ErrDeadlineExceeded", err)
		}
		start := time.Now()
		g.setDeadline(ln, start.Add(time.Minute))
		wait()
		if err := <-result; err != os.ErrDeadlineExceeded || time.Since(start) != time.Minute {
			t.Errorf("deadline: got %v after %v, want ErrDeadlineExceeded after 1m", err, time.Since(start))
		}
		g.setDeadline(ln, time.Time{})
		wait()
		g.unblock(ln)
		if err := <-result; err != nil {
			t.Errorf("unblock: got %v, want nil", err)
		}
		if diff := cmp.Diff([]time.Time{time.Unix(1, 0), {}}, ln.deadlines); diff != "" {
			t.Errorf("deadlines of the socket (-want +got):\n%s", diff)
		}
		g.block(ln)
		wait()
		g.close()
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("close: got %v, want net.ErrClosed", err)
		}
	})
}

// pipe returns both ends of a control connection.
func pipe(t *testing.T, handle func(context.Context, string, json.RawMessage) (any, error)) (client, server *control) {
	t.Helper()
	a, b := net.Pipe()
	none := func(context.Context, string, json.RawMessage) (any, error) { return nil, errors.New("no calls") }
	client, server = newControl(a, none), newControl(b, handle)
	t.Cleanup(client.close)
	t.Cleanup(server.close)
	return client, server
}

func TestControl(t *testing.T) {
	blocked := make(chan struct{})
	c, s := pipe(t, func(ctx context.Context, call string, body json.RawMessage) (any, error) {
		switch call {
		case "double":
			var n int
			err := json.Unmarshal(body, &n)
			return 2 * n, err
		case "block":
			close(blocked)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return nil, errors.New("unknown")
	})
	var n int
	if err := c.call(t.Context(), "double", 21, &n); err != nil || n != 42 {
		t.Errorf("got %d and error %v, want 42", n, err)
	}
	if err := c.call(t.Context(), "x", nil, nil); err == nil || err.Error() != "unknown" {
		t.Errorf("got error %v, want that of the peer", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.call(ctx, "block", nil, nil) }()
	<-blocked
	if err := c.call(t.Context(), "double", 1, &n); err != nil || n != 2 {
		t.Errorf("during another call: got %d and error %v, want 2", n, err)
	}
	cancel()
	if err := <-result; err != context.Canceled {
		t.Errorf("cancelled: got %v, want context.Canceled", err)
	}
	s.close()
	if err := c.call(t.Context(), "double", 1, &n); err != errEnded {
		t.Errorf("after the end: got %v, want errEnded", err)
	}
	if err := s.call(t.Context(), "x", strings.Repeat("x", maxFrame), nil); !errors.Is(err, errFrame) {
		t.Errorf("too large: got %v, want errFrame", err)
	}
}

// The path of a program that cannot be started is in the error.
func TestCheckProgram(t *testing.T) {
	dir := t.TempDir()
	if err := checkProgram(filepath.Join(dir, "none")); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), dir) {
		t.Errorf("missing: got %v, want ENOENT with the path", err)
	}
	if err := checkProgram(dir); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("directory: got %v, want that it is not a file", err)
	}
}

// The end of the first process of a container would end its successor.
func TestFirstProcessOfAContainer(t *testing.T) {
	if err := checkPID(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("process 1: got %v, want ErrUnsupported", err)
	}
	if err := checkPID(2); err != nil {
		t.Errorf("process 2: got %v, want nil", err)
	}
}
