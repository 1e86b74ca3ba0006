//go:build unix

package transport_test

import (
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

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"goranch/internal/engine"
	"goranch/internal/listenaddr"
	"goranch/transport"
)

// fileOfListener returns a descriptor of a listening socket, as a parent process passes it on.
func fileOfListener(tb testing.TB, ln net.Listener) *os.File {
	tb.Helper()
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// inheritedAddr returns the address of an inherited socket without a listener.
func inheritedAddr(tb testing.TB, addr string) string {
	tb.Helper()
	ln := listen(tb, transport.TCP{}, addr)
	f := fileOfListener(tb, ln)
	return fmt.Sprintf("fd:%d", f.Fd())
}

// An inherited socket serves over every transport, and can be listened on again after Close.
// Clients that connect in between are queued by the kernel.
func TestInheritedSocket(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		at := inheritedAddr(t, k.addr(t))
		tr := k.make(transport.TCP{})
		bound := ""
		for range 3 {
			ln := listen(t, tr, at)
			if now := listenaddr.String(ln.Addr()); bound != "" && now != bound {
				t.Errorf("listen again: got address %[2]s, want %[1]s", bound, now)
			} else {
				bound = now
			}
			if got := engine.Rebind(at, ln.Addr()); got != at {
				t.Errorf("Rebind of %s: got %s, want the descriptor", at, got)
			}
			srv, cli := connectTo(t, tr, ln)
			exchange(t, srv, cli)
			for range 2 {
				ln.Close()
			}
		}
		early, err := transport.TCP{}.Dial(t.Context(), bound)
		if err != nil {
			t.Fatalf("dial without a listener: got %v, want no error", err)
		}
		defer early.Close()
		nc, err := listen(t, tr, at).Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, nc, early)
		nc.Close()
	})
}

func TestInheritedFaults(t *testing.T) {
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	socket := func(kind int) int {
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	for _, tt := range []struct {
		name, addr string
		shared     bool
		want       error
		text       string
	}{
		{"not open", "fd:999999", false, transport.ErrNotInherited, "descriptor 999999 is not open"},
		{"a file", fmt.Sprintf("fd:%d", plain.Fd()), false, transport.ErrNotInherited, "not a socket"},
		{"a datagram socket", fmt.Sprintf("fd:%d", socket(unix.SOCK_DGRAM)), false, transport.ErrNotInherited, "not a stream socket"},
		{"not listening", fmt.Sprintf("fd:%d", socket(unix.SOCK_STREAM)), false, transport.ErrNotInherited, "not listening"},
		{"shared", inheritedAddr(t, "127.0.0.1:0"), true, errors.ErrUnsupported, "several sockets"},
		{"not activated", "systemd:web", false, transport.ErrNotInherited, "LISTEN_FDS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listen := transport.TCP{}.Listen
			if tt.shared {
				listen = transport.TCP{}.ListenShared
			}
			ln, err := listen(t.Context(), tt.addr)
			if err == nil {
				ln.Close()
			}
			wantIs(t, err, tt.want)
			if err != nil && (!strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), tt.addr)) {
				t.Errorf("got error %[2]v, want %[1]q in it", tt.text, err)
			}
		})
	}
}

// A Listen that fails late leaves no descriptor open.
func TestInheritedSocketRefusedByControl(t *testing.T) {
	at := inheritedAddr(t, "127.0.0.1:0")
	before := descriptors(t)
	_, err := transport.TCP{Control: func(network, _ string, _ syscall.RawConn) error {
		if network != "tcp4" {
			t.Errorf("Control: got network %q, want tcp4", network)
		}
		return errCause
	}}.Listen(t.Context(), at)
	wantIs(t, err, errCause)
	if after := descriptors(t); after != before {
		t.Errorf("got %d descriptors after the error, want %d", before, after)
	}
}

func descriptors(tb testing.TB) int {
	tb.Helper()
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(all)
}

var activations = []struct {
	pid, fds, names string
	want            []string
	text            string // a part of the error
}{
	{"7", "2", "web:admin", []string{"web", "admin"}, ""},
	{"7", "2", "", []string{"unknown", "unknown"}, ""},
	{"7", "1", "", []string{"unknown"}, ""},
	{"7", "2", ":", []string{"", ""}, ""},
	{"", "", "", nil, "not started by socket activation"},
	{"7", "", "", nil, "is not set"},
	{"", "1", "", nil, "is not set"},
	{"8", "1", "", nil, `"8", so the sockets are for another process: this one is 7`},
	{"x", "1", "", nil, `"x"`},
	{"7", "0", "", nil, "allowed are 1"},
	{"7", "-1", "", nil, "allowed are 1"},
	{"7", "9999999", "", nil, "allowed are 1"},
	{"7", "two", "", nil, `"two"`},
	{"7", "2", "web", nil, "has 1 names"},
}

func TestActivationVariables(t *testing.T) {
	for _, tt := range activations {
		got, err := transport.Activation(tt.pid, tt.fds, tt.names, 7)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v: names (-want +got):\n%s", tt, diff)
		}
		if (err == nil) != (tt.text == "") || err != nil && (!strings.Contains(err.Error(), tt.text) || !errors.Is(err, transport.ErrNotInherited)) {
			t.Errorf("%+v: got %v, want the names or the error", tt, err)
		}
	}
}

func FuzzActivation(f *testing.F) {
	for _, a := range activations {
		f.Add(a.pid, a.fds, a.names)
	}
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		got, err := transport.Activation(pid, fds, names, 7)
		if (err == nil) == (len(got) == 0) || err != nil && !errors.Is(err, transport.ErrNotInherited) {
			t.Errorf("got %q, %v, want either names or an error", got, err)
		}
		if err == nil && names != "" && strings.Join(got, ":") != names {
			t.Errorf("got %q, want the names of %q", got, names)
		}
	})
}

// activated runs a test of this binary with sockets as descriptors from 3 on.
func activated(t *testing.T, test, names string, socks ...*os.File) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.timeout=60s", "-test.v")
	cmd.Env = append(os.Environ(), "GORANCH_ACTIVATED="+test, fmt.Sprintf("LISTEN_FDS=%d", len(socks)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = socks
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("process: got %v, want no error\n%s", err, out)
	}
}

// TestSystemdNames starts a process with four sockets, two of which have the same name.
func TestSystemdNames(t *testing.T) {
	if os.Getenv("GORANCH_ACTIVATED") == "" {
		var socks []*os.File
		for _, addr := range []string{"127.0.0.1:0", "127.0.0.1:0", socketPath(t), "127.0.0.1:0"} {
			socks = append(socks, fileOfListener(t, listen(t, transport.TCP{}, addr)))
		}
		activated(t, "TestSystemdNames", "web:admin:local:web", socks...)
		return
	}
	var tcp transport.TCP
	_, err := tcp.Listen(t.Context(), "systemd:web")
	wantIs(t, err, transport.ErrNotInherited) // LISTEN_PID is not set
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()+1))
	_, err = tcp.Listen(t.Context(), "systemd:web")
	wantIs(t, err, transport.ErrNotInherited)
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))

	first, second := listen(t, tcp, "systemd:web"), listen(t, tcp, "systemd:web")
	if got, want := first.Addr().String(), listen(t, tcp, "fd:3").Addr().String(); got != want {
		t.Errorf("first socket of the name: got %s, want descriptor 3 at %s", got, want)
	}
	if got, want := second.Addr().String(), listen(t, tcp, "fd:6").Addr().String(); got != want {
		t.Errorf("second socket of the name: got %s, want descriptor 6 at %s", got, want)
	}
	_, err = tcp.Listen(t.Context(), "systemd:web")
	wantIs(t, err, syscall.EADDRINUSE)
	if got := listen(t, tcp, "systemd:2").Addr().Network(); got != "unix" {
		t.Errorf("index 2: got a %s socket, want unix", got)
	}
	if got := listen(t, transport.TLS{Config: testTLS()}, "systemd:admin").Addr().Network(); got != "tcp" {
		t.Errorf("admin: got a %s socket, want tcp", got)
	}
	for _, name := range []string{"none", "4", "-1"} {
		_, err = tcp.Listen(t.Context(), "systemd:"+name)
		wantIs(t, err, transport.ErrNotInherited)
		if err != nil && !strings.Contains(err.Error(), `["web" "admin" "local" "web"]`) {
			t.Errorf("got error %v, want one that lists the names", err)
		}
	}
	// A listener that is opened again gets its own socket, not the first one of that name.
	for again, ln := range map[string]net.Listener{"fd:3": first, "fd:6": second} {
		if got := engine.Rebind("systemd:web", ln.Addr()); got != again {
			t.Errorf("listen again on %s: got %s, want %s", ln.Addr(), got, again)
		}
	}
	// The same holds if both were closed, and the second one is opened first.
	at := [2]string{first.Addr().String(), second.Addr().String()}
	first.Close()
	second.Close()
	second = listen(t, tcp, engine.Rebind("systemd:web", second.Addr()))
	first = listen(t, tcp, engine.Rebind("systemd:web", first.Addr()))
	if again := [2]string{first.Addr().String(), second.Addr().String()}; again != at {
		t.Errorf("got addresses %[2]q, want %[1]q", at, again)
	}
	passedOn(t)
}

// passedOn checks that a child process has none of the sockets open.
func passedOn(t *testing.T) {
	out, err := exec.Command("sh", "-c", "for n in 3 4 5 6; do test -e /dev/fd/$n && ls -l /dev/fd/$n; done; true").CombinedOutput()
	if err != nil || strings.Contains(string(out), "socket:") {
		t.Errorf("child process: got %s, %v, want no socket", out, err)
	}
}

// systemd-socket-activate opens the sockets, and starts the process when the first client connects.
func TestSystemdSocketActivate(t *testing.T) {
	const test = "TestSystemdSocketActivate"
	if os.Getenv("GORANCH_ACTIVATED") == test {
		ln := listen(t, transport.TCP{}, "systemd:local")
		for range 2 {
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn := transport.NewConn(transport.TCP{}, nc)
			conn.WriteTo(conn)
			conn.Close()
			ln.Close()
			ln = listen(t, transport.TCP{}, engine.Rebind("systemd:local", ln.Addr()))
		}
		return
	}
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed: apt-get install systemd")
	}
	path := filepath.Join(shortDir(t), "s")
	cmd := exec.CommandContext(t.Context(), activate, "-l", path, "--fdname=local", "-E", "GORANCH_ACTIVATED="+test,
		os.Args[0], "-test.run=^"+test+"$", "-test.timeout=60s")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := newLines(r)
	out.await(t, "Listening on")
	for range 2 {
		nc, err := transport.TCP{}.Dial(t.Context(), "unix:"+path)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(testTimeout))
		asyncWrite(nc, []byte("hello"))
		p := make([]byte, 5)
		if r := await(t, "the echo", asyncRead(nc, p)); string(p) != "hello" {
			t.Errorf("got %q, %v, want the echo; output of the process:\n%s", p[:r.n], r.err, out.all())
		}
		nc.Close()
	}
	if err := out.drained(t, cmd); err != nil {
		t.Errorf("process: got %v, want no error\n%s", err, out.all())
	}
	r.Close()
}
