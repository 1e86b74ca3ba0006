//go:build unix

package transport

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/backlog"
	"goranch/internal/listenaddr"
)

// listenInherited returns a listener of an inherited socket.
func (t TCP) listenInherited(a listenaddr.Addr) (net.Listener, error) {
	inherited.mu.Lock() // held until take, so that two listeners do not find the same socket
	defer inherited.mu.Unlock()
	fd, err := inherited.find(a)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", a, err)
	}
	ln, err := openInherited(fd)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", a, err)
	}
	if err := t.adopt(ln); err != nil {
		ln.Close()
		return nil, fmt.Errorf("address %q: %w", a, err)
	}
	l := &inheritedListener{socketListener: ln, fd: fd}
	if t.KeepAlive < 0 {
		l.keepAlive = new(net.KeepAliveConfig)
	} else if k := t.keepAlive(); k != (net.KeepAliveConfig{Enable: true}) {
		l.keepAlive = &k
	}
	inherited.take(fd, listenaddr.String(ln.Addr()))
	return l, nil
}

// openInherited returns a listener of a duplicate of fd, so that it can be closed and opened again.
// Neither descriptor is passed on to child processes.
func openInherited(fd int) (socketListener, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, fmt.Errorf("%w: descriptor %d is not open: %w", ErrNotInherited, fd, err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor %d is not a socket: %w", ErrNotInherited, fd, err)
	}
	if kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("%w: descriptor %d is not a stream socket (its SO_TYPE is %d)", ErrNotInherited, fd, kind)
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return nil, fmt.Errorf("%w: descriptor %d is a socket that is not listening", ErrNotInherited, fd)
	}
	unix.CloseOnExec(fd)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(dup), "inherited")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%w: descriptor %d: %w", ErrNotInherited, fd, err)
	}
	return ln.(socketListener), nil
}

// adopt applies the options of t to a listening socket.
func (t TCP) adopt(ln socketListener) error {
	t.UnixMode = 0 // another process created the file
	network := ln.Addr().Network()
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		network = "tcp6"
		if a.IP.To4() != nil {
			network = "tcp4"
		}
	}
	rc, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	if err := t.control(listening)(network, ln.Addr().String(), rc); err != nil {
		return err
	}
	if t.Backlog > 0 {
		return backlog.Set(ln, t.Backlog)
	}
	return nil
}

// socketListener is implemented by *net.TCPListener and *net.UnixListener.
type socketListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
	File() (*os.File, error)
}

type inheritedListener struct {
	socketListener
	fd        int
	keepAlive *net.KeepAliveConfig // nil: package net sets the right values
	close     sync.Once
}

// Accept replaces the keepalive options that package net sets on the accepted connections of a
// listener made from a file. Setting them fails only on a connection that has ended.
func (l *inheritedListener) Accept() (net.Conn, error) {
	nc, err := l.socketListener.Accept()
	if tc, ok := nc.(*net.TCPConn); ok && l.keepAlive != nil {
		tc.SetKeepAliveConfig(*l.keepAlive)
	}
	return nc, err
}

// Inherited implements [backlog.Inherited].
func (l *inheritedListener) Inherited() {}

func (l *inheritedListener) Close() error {
	l.close.Do(func() { inherited.release(l.fd) })
	return l.socketListener.Close()
}
