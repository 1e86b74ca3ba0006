package upgrade

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"goranch/internal/backlog"
	"goranch/internal/engine"
	"goranch/internal/listenaddr"
)

// acceptor is a listener whose socket can be handed over.
type acceptor interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// listener is a listening socket that can be handed over, or was.
type listener struct {
	acceptor
	u       *Upgrader
	entry   socketEntry
	adopted *adoptee    // nil: this process has opened the socket
	file    fs.FileInfo // of the socket file, if the socket was adopted with it
	gate    gate
	closed  atomic.Bool
	handed  atomic.Bool
}

// newListener returns a listener of ln, which accepts nothing while blocked is true.
func newListener(u *Upgrader, ln acceptor, entry socketEntry, a *adoptee, blocked bool) *listener {
	l := &listener{acceptor: ln, u: u, entry: entry, adopted: a}
	if a != nil && entry.OwnFile {
		l.file, _ = os.Lstat(ln.Addr().String())
	}
	if blocked {
		l.gate.block(ln)
	}
	return l
}

// describe returns the entry of a socket that this process has opened.
func describe(ref, addr string, ln net.Listener) socketEntry {
	e := socketEntry{Ref: ref, Addr: addr, Bound: listenaddr.String(ln.Addr()), Inherited: backlog.Outlives(ln)}
	if u, ok := ln.Addr().(*net.UnixAddr); ok && u.Name != "" {
		e.OwnFile = !e.Inherited && u.Name[0] != '@'
	}
	return e
}

// Accept waits while another process accepts.
func (l *listener) Accept() (net.Conn, error) {
	for {
		blocks := l.gate.blocks.Load()
		if err := l.gate.wait(); err != nil {
			return nil, err
		}
		nc, err := l.acceptor.Accept()
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && l.gate.blocks.Load() != blocks {
			continue // interrupted by the gate
		}
		return nc, err
	}
}

// SetDeadline sets the deadline of Accept.
func (l *listener) SetDeadline(t time.Time) error { return l.gate.setDeadline(l.acceptor, t) }

// Unwrap returns the listener of the transport.
func (l *listener) Unwrap() net.Listener { return l.acceptor }

// Shared implements [backlog.Shared].
func (l *listener) Shared() bool { return l.handed.Load() || l.entry.Inherited }

// hand records that the socket belongs to the successor now: its file stays at Close.
func (l *listener) markHanded() {
	l.handed.Store(true)
	if l.entry.OwnFile {
		engine.KeepSocketFile(l.Addr().String(), true)
	}
}

// Close removes the file of an adopted Unix socket, unless the socket was handed over or the file
// was replaced; that of others is removed by their transport.
func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return l.acceptor.Close()
	}
	l.gate.close()
	l.u.forget(l)
	if l.file != nil && !l.handed.Load() {
		path := l.Addr().String()
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, l.file) {
			os.Remove(path)
		}
	}
	return l.acceptor.Close()
}
