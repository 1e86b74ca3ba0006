package backlog_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/backlog"
)

func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println(backlog.Pending(ln))
	client, err := net.Dial("tcp", ln.Addr().String()) // connects without Accept
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(backlog.Pending(ln))
	// Output:
	// false <nil>
	// true <nil>
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// listenUnix listens in a directory with a short path: the name of a Unix socket has at most 107
// bytes.
func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "backlog")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return listen(t, "unix", filepath.Join(dir, "s"))
}

func dial(t *testing.T, ln net.Listener) error {
	t.Helper()
	nc, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err == nil {
		t.Cleanup(func() { nc.Close() })
	}
	return err
}

func pending(t *testing.T, ln net.Listener) bool {
	t.Helper()
	got, err := backlog.Pending(ln)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPending(t *testing.T) {
	for _, ln := range []net.Listener{listen(t, "tcp", "127.0.0.1:0"), listenUnix(t)} {
		if pending(t, ln) {
			t.Errorf("%s without clients: got true, want false", ln.Addr())
		}
		if err := dial(t, ln); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); !pending(t, ln); {
			if time.Now().After(end) {
				t.Fatalf("%s with a client: got false, want true", ln.Addr())
			}
		}
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if pending(t, ln) {
			t.Errorf("%s after Accept: got true, want false", ln.Addr())
		}
	}
}

// After Shrink the queued connections are accepted, one more is queued, and others are refused.
func TestShrink(t *testing.T) {
	ln := listenUnix(t)
	for range 3 {
		if err := dial(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	if err := backlog.Shrink(ln); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, ln); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("dial with a full queue: got %v, want EAGAIN", err)
	}
	accepted := 0
	for ; pending(t, ln); accepted++ {
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	if accepted != 3 {
		t.Errorf("got %d connections, want 3", accepted)
	}
	if err := dial(t, ln); err != nil {
		t.Errorf("dial with an empty queue: got %v, want no error", err)
	}
	if err := dial(t, ln); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("second dial: got %v, want EAGAIN", err)
	}
}

func TestLength(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	if err := backlog.Set(ln, 7); err != nil {
		t.Fatal(err)
	}
	for want := range 3 {
		end := time.Now().Add(10 * time.Second)
		n, limit, err := backlog.Length(ln)
		for n != want && time.Now().Before(end) { // the kernel may not have queued it yet
			n, limit, err = backlog.Length(ln)
		}
		if n != want || limit != 7 || err != nil {
			t.Fatalf("got %d of %d, %v, want %d of 7, nil", n, limit, err, want)
		}
		if err := dial(t, ln); err != nil {
			t.Fatal(err)
		}
	}
	if n, limit, err := backlog.Length(listenUnix(t)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Unix socket: got %d of %d, %v, want ErrUnsupported", n, limit, err)
	}
}

// The kernel reports the length of the queue of a listening TCP socket in tcpi_sacked.
func TestSet(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	for _, c := range []struct {
		f    func() error
		want uint32
	}{
		{func() error { return backlog.Set(ln, 7) }, 7},
		{func() error { return backlog.Shrink(ln) }, 0},
	} {
		if err := c.f(); err != nil {
			t.Fatal(err)
		}
		raw, err := ln.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || info.Sacked != c.want {
				t.Errorf("backlog: got %v, %v, want %d", info, err, c.want)
			}
		})
	}
}

// inherited is a listener whose queue outlives the process.
type inherited struct{ *net.TCPListener }

func (inherited) Inherited() {}

func TestErrors(t *testing.T) {
	tcp := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	if err := backlog.Shrink(inherited{tcp}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Shrink of an inherited listener: got %v, want ErrUnsupported", err)
	}
	noSocket := struct{ net.Listener }{tcp}
	if _, err := backlog.Pending(noSocket); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Pending without a socket: got %v, want ErrUnsupported", err)
	}
	if err := backlog.Set(noSocket, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Set without a socket: got %v, want ErrUnsupported", err)
	}
	tcp.Close()
	if _, err := backlog.Pending(tcp); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Pending after Close: got %v, want net.ErrClosed", err)
	}
}

type shared struct {
	*net.TCPListener
	shared bool
}

func (s shared) Shared() bool { return s.shared }

type wrapper struct{ net.Listener }

func (w wrapper) Unwrap() net.Listener { return w.Listener }

// The queue of a socket that another process has is not changed, also if its listener is wrapped.
func TestOutlives(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	for _, c := range []struct {
		name string
		ln   net.Listener
		want bool
	}{
		{"own", ln, false},
		{"inherited", inherited{ln}, true},
		{"wrapped", wrapper{inherited{ln}}, true},
		{"wrapped twice", wrapper{wrapper{inherited{ln}}}, true},
		{"shared", wrapper{shared{ln, true}}, true},
		{"not shared", shared{ln, false}, false},
	} {
		if got := backlog.Outlives(c.ln); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if err := backlog.Shrink(c.ln); c.want != errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: Shrink: got %v, want an error: %v", c.name, err, c.want)
		}
	}
}
