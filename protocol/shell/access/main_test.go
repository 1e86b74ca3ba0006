package access

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"goranch/internal/listenaddr"
	"goranch/protocol/shell"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout limits every operation of a test.
const timeout = 20 * time.Second

// accept connects to a new listener with dial, and returns the server's connection after the
// handshake.
func accept(t *testing.T, tr transport.Transport, addr string, dial func(addr string) (net.Conn, error)) *transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	ln, err := tr.Listen(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled := make(chan error, 1)
	go func() {
		nc, err := dial(listenaddr.String(ln.Addr()))
		if err == nil {
			t.Cleanup(func() { nc.Close() })
		}
		dialled <- err
	}()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := transport.NewConn(tr, nc)
	t.Cleanup(conn.Abort)
	if err := conn.Handshake(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect is accept with the Dial of the transport.
func connect(t *testing.T, tr transport.Transport, addr string) *transport.Conn {
	t.Helper()
	return accept(t, tr, addr, func(addr string) (net.Conn, error) { return tr.Dial(t.Context(), addr) })
}

func socketPath(t *testing.T) string { return "unix:" + filepath.Join(t.TempDir(), "s") }

// connFrom returns a connection with the remote address.
func connFrom(t *testing.T, addr net.Addr) *transport.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return transport.NewConn(transport.TCP{}, remoteConn{a, addr})
}

// remoteConn is a net.Conn with another remote address.
type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (a remoteConn) RemoteAddr() net.Addr { return a.remote }

func tcpAddr(s string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(s), Port: 4000} }

// result is the result of an Authenticator, for comparisons.
type result struct {
	User shell.User
	Err  string
}

func resultOf(user shell.User, err error) result {
	if err != nil {
		return result{user, err.Error()}
	}
	return result{User: user}
}
