package transport_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// The file never has more permission than UnixMode, even while Listen runs: a goroutine that checks
// it all the time sees no more.
func TestUnixModeIsNeverExceeded(t *testing.T) {
	umask(t, 0)
	path := filepath.Join(shortDir(t), "s")
	var stop atomic.Bool
	var seen atomic.Int64
	watcher := async(func() (int64, error) {
		for !stop.Load() {
			fi, err := os.Lstat(path)
			if err != nil {
				continue
			}
			seen.Add(1)
			if wider := fi.Mode().Perm() &^ 0o600; wider != 0 {
				return int64(fi.Mode().Perm()), errors.New("wider")
			}
		}
		return 0, nil
	})
	for i := 0; i < 300 || seen.Load() < 300; i++ {
		ln := listen(t, transport.TCP{UnixMode: 0o600}, "unix:"+path)
		ln.Close()
		if i > 100_000 {
			t.Fatal("got no file, want the watcher to see it")
		}
	}
	stop.Store(true)
	if r := await(t, "the watcher", watcher); r.err != nil {
		t.Errorf("got mode %03o, want at most 600", r.n)
	}
}

func TestAbstractNames(t *testing.T) {
	addr := abstractName()
	ln := listen(t, transport.TCP{UnixMode: 0o600}, addr)
	if got := listenaddr.String(ln.Addr()); got != addr {
		t.Errorf("got address %q, want %q", got, addr)
	}
	if _, err := os.Lstat(strings.TrimPrefix(addr, "unix:")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file of an abstract name: got %v, want ErrNotExist", err)
	}
	srv, cli := connectTo(t, transport.TCP{}, ln)
	exchange(t, srv, cli)
	_, err := transport.TCP{}.Listen(t.Context(), addr)
	wantIs(t, err, syscall.EADDRINUSE)
	ln.Close()
	wantIs(t, ln.Close(), net.ErrClosed)
	listen(t, transport.TCP{}, addr)
}
