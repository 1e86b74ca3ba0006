package conns_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// stub is a connection that never receives data: a read blocks until the connection is closed, or
// reading is stopped.
type stub struct {
	closed  chan struct{}
	stopped chan struct{}
	close   sync.Once
	stop    sync.Once
	onStop  func() // nil: nothing
}

func newStub() *stub { return &stub{closed: make(chan struct{}), stopped: make(chan struct{})} }

func (s *stub) Read([]byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	case <-s.stopped:
		return 0, os.ErrDeadlineExceeded
	}
}

func (s *stub) Write(p []byte) (int, error) { return len(p), nil }
func (s *stub) Close() error                { s.close.Do(func() { close(s.closed) }); return nil }
func (s *stub) LocalAddr() net.Addr         { return stubAddr("local") }
func (s *stub) RemoteAddr() net.Addr        { return stubAddr("remote") }
func (s *stub) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}
func (s *stub) SetWriteDeadline(time.Time) error { return nil }
func (s *stub) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		s.stop.Do(func() {
			close(s.stopped)
			if s.onStop != nil {
				s.onStop()
			}
		})
	}
	return nil
}

type stubAddr string

func (stubAddr) Network() string  { return "stub" }
func (a stubAddr) String() string { return string(a) }

// fake is a transport whose handshake is a function; nil returns at once.
type fake struct {
	plain bool
	shake func(ctx context.Context, nc net.Conn) (net.Conn, error)
}

func (fake) Name() string  { return "fake" }
func (fake) Secure() bool  { return false }
func (f fake) Plain() bool { return f.plain }
func (fake) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
func (fake) Dial(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
func (f fake) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if f.shake == nil {
		return nc, nil
	}
	return f.shake(ctx, nc)
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (server, client *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return s.(*net.TCPConn), c.(*net.TCPConn)
}
