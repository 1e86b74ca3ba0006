package transport_test

import (
	"io"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"goranch/transport"
)

// Close after StopReading does not reset the connection although data is unread: closing a socket
// with unread data sends RST, which can destroy the answer before the peer reads it.
func TestCloseAfterStopReadingSendsAnswer(t *testing.T) {
	t.Parallel()
	const unread = 60_000
	for _, k := range []kind{kindNamed("tcp"), kindNamed("unix"), kindNamed("tls1.3")} {
		t.Run(k.name, func(t *testing.T) {
			srv, cli := k.pair(t, transport.TCP{})
			if _, err := io.Copy(cli, &stream{n: unread}); err != nil {
				t.Fatal(err)
			}
			waitArrived(t, srv, unread)
			srv.StopReading(errCause)
			if _, err := srv.Write([]byte("farewell")); err != nil {
				t.Fatal(err)
			}
			if err := srv.Close(); err != nil {
				t.Errorf("Close: got %v, want no error", err)
			}
			if got, err := io.ReadAll(cli); string(got) != "farewell" || err != nil {
				t.Errorf("peer: got %q, %v, want the answer and EOF", got, err)
			}
		})
	}
}

// Without StopReading, Close with unread data resets the connection.
func TestCloseWithUnreadDataResets(t *testing.T) {
	srv, cli := kindNamed("tcp").pair(t, transport.TCP{})
	cli.Write(make([]byte, 1000))
	waitArrived(t, srv, 1000)
	srv.Close()
	_, err := cli.Read(make([]byte, 1))
	wantIs(t, err, syscall.ECONNRESET)
}

func waitArrived(tb testing.TB, c *transport.Conn, n int) {
	tb.Helper()
	waitFor(tb, "the data arrives", func() bool {
		have := 0
		onSocket(tb, c, func(fd int) { have, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
		return have >= n
	})
}
