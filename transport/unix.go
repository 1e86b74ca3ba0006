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

	"goranch/internal/listenaddr"
)

// listenUnix listens on path, or @name, if no other process does.
func listenUnix(ctx context.Context, lc *net.ListenConfig, path string, mode fs.FileMode) (net.Listener, error) {
	if path[0] == '@' {
		return lc.Listen(ctx, "unix", path)
	}
	// Between bind(2) and listen(2) a socket refuses connections, like the socket of a process that
	// has ended: without the lock, removeStale of another process could remove its file.
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
		err = os.Chmod(path, mode) // adds the bits that the umask removed
	}
	if err != nil {
		ul.Close()
		os.Remove(path)
		return nil, err
	}
	return &unixListener{UnixListener: ul, path: path, own: own}, nil
}

// absolute returns path as an absolute one: the file must be found again after a change of the
// working directory, to remove it and to listen there again. A relative path whose absolute form is
// too long for the system stays relative.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		if _, err := listenaddr.Parse("unix:" + abs); err == nil {
			return abs
		}
	}
	return path
}

// removeStale removes the socket file of a process that has ended. Only a refused connection proves
// that; in all other cases the file stays.
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
		return inUse("the file exists and is not a socket")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		nc.Close()
		return inUse("another listener accepts connections on it")
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	default: // a full backlog (EAGAIN) or no permission: there may be a listener
		return inUse(fmt.Sprintf("the socket may have a listener: %v", err))
	}
}

// keptFiles are the paths of socket files that belong to another process too.
var keptFiles struct {
	mu    sync.Mutex
	paths map[string]bool
}

// keepSocketFile implements engine.KeepSocketFile.
func keepSocketFile(path string, keep bool) {
	keptFiles.mu.Lock()
	defer keptFiles.mu.Unlock()
	if !keep {
		delete(keptFiles.paths, path)
		return
	}
	if keptFiles.paths == nil {
		keptFiles.paths = make(map[string]bool)
	}
	keptFiles.paths[path] = true
}

func isSocketFileKept(path string) bool {
	keptFiles.mu.Lock()
	defer keptFiles.mu.Unlock()
	return keptFiles.paths[path]
}

// unixListener removes its socket file when it is closed, unless the file has been replaced or
// belongs to another process too.
type unixListener struct {
	*net.UnixListener
	path  string
	own   fs.FileInfo
	close sync.Once
}

func (l *unixListener) Close() error {
	l.close.Do(func() {
		if isSocketFileKept(l.path) {
			return
		}
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
