package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// listenUnix binds path, or @name, after making sure that nobody serves there.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string, mode fs.FileMode) (net.Listener, error) {
	if path[0] == '@' {
		return lc.Listen(ctx, "unix", path)
	}
	// Between bind and listen a socket looks as stale as that of a dead process.
	defer lockDir(ctx, filepath.Dir(path))()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	ul := ln.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	own, err := os.Lstat(path)
	if err == nil && mode != 0 {
		err = os.Chmod(path, mode) // what the umask took away
	}
	if err != nil {
		ul.Close()
		os.Remove(path)
		return nil, err
	}
	return &unixListener{UnixListener: ul, path: path, own: own}, nil
}

// removeStale removes the socket file of a process that is gone. Only a refused
// connection proves that; whatever else stands there is left alone.
func removeStale(ctx context.Context, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	inUse := func(why string) error {
		addr := &net.UnixAddr{Name: path, Net: "unix"}
		return &net.OpError{Op: "listen", Net: "unix", Addr: addr, Err: fmt.Errorf("%w: %s", syscall.EADDRINUSE, why)}
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return inUse("a file that is no socket is there; it is left alone")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		nc.Close()
		return inUse("somebody answers on it")
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	default: // a full backlog (EAGAIN), no permission: alive, or not ours to judge
		return inUse(fmt.Sprintf("cannot tell whether somebody answers on it: %v", err))
	}
}

// unixListener removes its socket file when it is closed, unless another has taken its place.
type unixListener struct {
	*net.UnixListener
	path  string
	own   fs.FileInfo
	close sync.Once
}

func (l *unixListener) Close() error {
	l.close.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
