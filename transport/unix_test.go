//go:build unix

package transport_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"goranch/transport"
)

// umask sets the umask of the process until the end of the test.
func umask(t *testing.T, mask int) {
	old := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(old) })
}

func TestUnixModeIsExact(t *testing.T) {
	for _, tt := range []struct {
		umask int
		mode  fs.FileMode
		want  fs.FileMode
	}{
		{0o077, 0o666, 0o666},
		{0o077, 0o777, 0o777},
		{0o022, 0o660, 0o660},
		{0o000, 0o600, 0o600},
		{0o777, 0o640, 0o640},
		{0o022, 0, 0o755},
		{0o077, 0, 0o700},
		{0o000, 0, 0o777},
	} {
		umask(t, tt.umask)
		path := filepath.Join(shortDir(t), "s")
		ln := listen(t, transport.TCP{UnixMode: tt.mode}, "unix:"+path)
		fi, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != fs.ModeSocket|tt.want {
			t.Errorf("umask %03o, UnixMode %03o: got %v, want %v", tt.umask, tt.mode, fi.Mode(), tt.want)
		}
		ln.Close()
	}
}

func TestUnixStaleFileIsReplaced(t *testing.T) {
	path := staleSocket(t)
	ln := listen(t, transport.TCP{}, "unix:"+path)
	srv, cli := connectTo(t, transport.TCP{}, ln)
	exchange(t, srv, cli)
}

// staleSocket leaves a socket file without a listener, as a killed process does.
func staleSocket(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(shortDir(tb), "s")
	leaveStale(tb, path)
	return path
}

func leaveStale(tb testing.TB, path string) {
	tb.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestUnixSocketInUse(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	live := listen(t, transport.TCP{}, "unix:"+path)
	_, err := transport.TCP{}.Listen(t.Context(), "unix:"+path)
	wantIs(t, err, syscall.EADDRINUSE)
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "listen" || oe.Addr.String() != path {
		t.Errorf("got %#v, want a *net.OpError of listen", err)
	}
	accept(t, transport.TCP{}, live) // the probe of the second Listen
	srv, cli := connectTo(t, transport.TCP{}, live)
	exchange(t, srv, cli)
}

// A listener that does not accept at present keeps its file.
func TestUnixSocketWithFullQueueIsInUse(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	live := listen(t, transport.TCP{Backlog: 1}, "unix:"+path)
	for {
		nc, err := net.Dial("unix", path)
		if err != nil {
			break // its queue is full
		}
		defer nc.Close()
	}
	_, err := transport.TCP{}.Listen(t.Context(), "unix:"+path)
	wantIs(t, err, syscall.EADDRINUSE)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	live.Close()
	listen(t, transport.TCP{}, "unix:"+path)
}

// A socket of another type cannot be connected to, but may be in use.
func TestUnixDatagramSocketIsInUse(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	pc, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, err = transport.TCP{}.Listen(t.Context(), "unix:"+path)
	wantIs(t, err, syscall.EADDRINUSE)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestUnixOtherFilesAreKept(t *testing.T) {
	dir := shortDir(t)
	for name, create := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"symlink":   func(p string) error { return os.Symlink("nowhere", p) },
		"symlink to a stale socket": func(p string) error {
			leaveStale(t, filepath.Join(dir, "stale"))
			return os.Symlink("stale", p)
		},
	} {
		path := filepath.Join(dir, "s")
		if err := create(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = transport.TCP{}.Listen(t.Context(), "unix:"+path)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: got %v, want EADDRINUSE", name, err)
		}
		after, err := os.Lstat(path)
		if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
			t.Errorf("%s: got %v, %v, want the file unchanged", name, after, err)
		}
		if name == "file" {
			if b, err := os.ReadFile(path); string(b) != "precious" {
				t.Errorf("file: got %q, %v, want it unchanged", b, err)
			}
		}
		os.Remove(path)
	}
}

func TestUnixFileIsRemovedAtClose(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	ln := listen(t, transport.TCP{UnixMode: 0o600}, "unix:"+path)
	// A change of its permissions, for instance after Listen, does not make it another file.
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: got %v, want ErrNotExist", err)
	}
}

func TestUnixReplacedFileIsKept(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	first := listen(t, transport.TCP{}, "unix:"+path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen(t, transport.TCP{}, "unix:"+path)
	first.Close()
	srv, cli := connectTo(t, transport.TCP{}, second)
	exchange(t, srv, cli)
	second.Close()

	third := listen(t, transport.TCP{}, "unix:"+path)
	if err := os.Rename(path, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	third.Close()
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("replaced file: got %q, %v, want it unchanged", b, err)
	}
}

func TestUnixFileRemovedBeforeClose(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	ln := listen(t, transport.TCP{}, "unix:"+path)
	os.Remove(path)
	if err := ln.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
}

// A second Close fails as that of package net does, and does not remove the file of a new listener.
func TestUnixDoubleClose(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	first := listen(t, transport.TCP{}, "unix:"+path)
	first.Close()
	second := listen(t, transport.TCP{}, "unix:"+path)
	wantIs(t, first.Close(), net.ErrClosed)
	srv, cli := connectTo(t, transport.TCP{}, second)
	exchange(t, srv, cli)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { second.Close() })
	}
	wg.Wait()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file of the new listener: got %v, want no error", err)
	}
}

func TestUnixCloseEndsAccept(t *testing.T) {
	ln := listen(t, transport.TCP{}, socketPath(t))
	done := async(func() (int64, error) { _, err := ln.Accept(); return 0, err })
	waitBlocked(t, 1, "net.(*UnixListener).Accept(")
	ln.Close()
	wantIs(t, await(t, "Accept", done).err, net.ErrClosed)
}

func TestUnixLongPaths(t *testing.T) {
	t.Chdir(shortDir(t))
	longest := strings.Repeat("x", 107)
	if _, _, err := transport.ParseAddr("unix:" + longest); err != nil {
		longest = longest[:103] // the limit of BSD
	}
	ln := listen(t, transport.TCP{}, "unix:"+longest)
	srv, cli := connectTo(t, transport.TCP{}, ln)
	exchange(t, srv, cli)
	for _, call := range []func() error{
		func() error { _, err := transport.TCP{}.Listen(t.Context(), "unix:"+longest+"x"); return err },
		func() error { _, err := transport.TCP{}.Dial(t.Context(), "unix:"+longest+"x"); return err },
	} {
		wantIs(t, call(), transport.ErrBadAddr)
	}
}

func TestUnixMissingDirectory(t *testing.T) {
	_, err := transport.TCP{}.Listen(t.Context(), "unix:"+filepath.Join(shortDir(t), "no", "s"))
	wantIs(t, err, fs.ErrNotExist)
}

// Of several processes that find the same stale file, one listens and the others get EADDRINUSE.
func TestUnixRaceForStaleFile(t *testing.T) {
	for range 50 {
		path := staleSocket(t)
		const racers = 4
		lns := make([]net.Listener, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				ln, err := transport.TCP{}.Listen(t.Context(), "unix:"+path)
				if err != nil {
					if !errors.Is(err, syscall.EADDRINUSE) {
						t.Errorf("Listen: got %v, want no error or EADDRINUSE", err)
					}
					return
				}
				lns[i] = ln
			})
		}
		wg.Wait()
		won := 0
		for _, ln := range lns {
			if ln != nil {
				won++
				defer ln.Close()
			}
		}
		if won != 1 {
			t.Fatalf("got %d of %d listeners on one path, want 1", won, racers)
		}
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("dial: got %v, want no error", err)
		}
		nc.Close()
	}
}
