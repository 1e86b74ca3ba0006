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

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// accept connects by dial to a new listener, and returns the server's end after its handshake.
func accept(t *testing.T, tr transport.Transport, addr string, dial func(addr string) (net.Conn, error)) *transport.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// connect is accept for clients that do nothing but dial.
func connect(t *testing.T, tr transport.Transport, addr string) *transport.Conn {
	t.Helper()
	return accept(t, tr, addr, func(addr string) (net.Conn, error) { return tr.Dial(t.Context(), addr) })
}

func socketPath(t *testing.T) string { return "unix:" + filepath.Join(t.TempDir(), "s") }

// from is a connection of which only the address matters.
func from(t *testing.T, addr net.Addr) *transport.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return transport.NewConn(transport.TCP{}, addressed{a, addr})
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func ip(s string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(s), Port: 4000} }

// answer is what an Authenticator returns.
type answer struct {
	User shell.User
	Err  string
}

func answerOf(user shell.User, err error) answer {
	if err != nil {
		return answer{user, err.Error()}
	}
	return answer{User: user}
}
