package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
)

var errCause = errors.New("the server is stopping")

// withPipe runs f over each kind, and over a connection without a socket.
func withPipe(t *testing.T, f func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn))) {
	eachKind(t, func(t *testing.T, k kind) { f(t, k.pair) })
	t.Run("pipe", func(t *testing.T) { f(t, pipe) })
}

func TestStopReadingEndsBlockedReads(t *testing.T) {
	reads := map[string]func(*transport.Conn) (int64, error){
		"Read":    func(c *transport.Conn) (int64, error) { n, err := c.Read(make([]byte, 10)); return int64(n), err },
		"WriteTo": func(c *transport.Conn) (int64, error) { return c.WriteTo(io.Discard) },
		"ReadFrom": func(c *transport.Conn) (int64, error) {
			return transport.NewConn(transport.TCP{}, sink{}).ReadFrom(c)
		},
	}
	parks := map[string]string{"Read": "transport.(*Conn).Read(", "WriteTo": "transport.(*Conn).WriteTo(", "ReadFrom": "transport.(*Conn).ReadFrom("}
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		for name, read := range reads {
			srv, cli := pair(t, transport.TCP{})
			done := async(func() (int64, error) { return read(srv) })
			waitBlocked(t, 1, parks[name])
			srv.StopReading(errCause)
			r := await(t, name, done)
			if r.n != 0 {
				t.Errorf("%s: got %d bytes, want 0", name, r.n)
			}
			wantStopped(t, name, r.err)

			// Later reads fail as well, whatever deadline is set.
			srv.StopReading(errors.New("another cause"))
			srv.SetReadDeadline(time.Time{})
			srv.SetDeadline(time.Now().Add(time.Hour))
			for again, read := range reads {
				_, err := read(srv)
				wantStopped(t, name+", then "+again, err)
			}

			// Writes and the end of the stream still work.
			sent := asyncWrite(srv, []byte("farewell"))
			p := make([]byte, 8)
			if _, err := io.ReadFull(cli, p); err != nil || string(p) != "farewell" {
				t.Errorf("%s: peer got %q, %v, want the data", name, p, err)
			}
			await(t, "Write", sent)
			closed := async(func() (int64, error) { return 0, srv.Close() })
			if _, err := cli.Read(p); err != io.EOF {
				t.Errorf("%s: peer got %v, want EOF", name, err)
			}
			await(t, "Close", closed)
		}
	})
}

// sink is a connection that accepts all data.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "nowhere", Net: "unix"} }
func (n sink) RemoteAddr() net.Addr           { return n.LocalAddr() }

func wantStopped(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errors.Is(err, errCause) {
		tb.Errorf("%s: got %v, want the cause", what, err)
	}
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "read" {
		tb.Errorf("%s: got %#v, want a *net.OpError of read", what, err)
	}
}

// Data that has arrived but was not read does not delay the stop.
func TestStopReadingWithUnreadData(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		cli.Write([]byte("arrived"))
		srv.Read(make([]byte, 1)) // so that data has arrived
		srv.StopReading(errCause)
		n, err := srv.Read(make([]byte, 10))
		if n != 0 {
			t.Errorf("%s: got %d bytes after StopReading, want 0", name, n)
		}
		wantStopped(t, name, err)
	}
}

// TLS may still return data that it has decrypted, but a peer that keeps sending cannot keep a read
// loop running.
func TestStopReadingEndsBusyLoop(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		for _, useWriteTo := range []bool{false, true} {
			srv, cli := k.pair(t, transport.TCP{})
			flooding := async(func() (int64, error) { return io.Copy(cli, &stream{n: 1 << 40}) })
			got := new(checker)
			looping := async(func() (int64, error) {
				if useWriteTo {
					return srv.WriteTo(got)
				}
				return io.Copy(got, struct{ io.Reader }{srv})
			})
			waitFor(t, "data to arrive", func() bool { return srv.Stats().BytesRead > 1<<20 })
			srv.StopReading(errCause)
			r := await(t, "the loop", looping)
			wantStopped(t, k.name, r.err)
			if r.n != got.off || uint64(r.n) != srv.Stats().BytesRead {
				t.Errorf("got %d bytes by the copy, %d by its writer and %d counted, want the same", r.n, got.off, srv.Stats().BytesRead)
			}
			srv.Abort()
			await(t, "the sender", flooding)
		}
	})
}

func TestStopReadingEndsHandshake(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	cli, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	srv := accept(t, tr, ln)
	done := async(func() (int64, error) { return 0, srv.Handshake(context.Background()) })
	waitBlocked(t, 1, "transport.(*Conn).Handshake(")
	srv.StopReading(errCause)
	wantStopped(t, "Handshake", await(t, "Handshake", done).err)
}

func TestReadDeadline(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, cli := pair(t, transport.TCP{})
		for what, set := range map[string]func(time.Time) error{"SetReadDeadline": srv.SetReadDeadline, "SetDeadline": srv.SetDeadline} {
			for name, read := range map[string]func() error{
				"Read":    func() error { _, err := srv.Read(make([]byte, 1)); return err },
				"WriteTo": func() error { _, err := srv.WriteTo(io.Discard); return err },
			} {
				if err := set(time.Now().Add(5 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				err := read()
				if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, transport.ErrSendTimeout) {
					t.Errorf("%s, %s: got %v, want ErrDeadlineExceeded", what, name, err)
				}
				var ne net.Error
				if !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("%s, %s: got %v, want a net.Error that is a timeout", what, name, err)
				}
			}
			// The connection is still usable.
			set(time.Time{})
			exchange(t, srv, cli)
		}
	})
}

// A deadline that expires inside a record loses no data.
func TestReadDeadlineInMidStream(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		const size = 1 << 20
		srv, cli := k.pair(t, transport.TCP{})
		sent := async(func() (int64, error) {
			n, err := io.Copy(cli, &stream{n: size})
			closeWrite(t, cli)
			return n, err
		})
		got := new(checker)
		for wait := time.Duration(0); ; wait += 50 * time.Microsecond {
			srv.SetReadDeadline(time.Now().Add(wait))
			_, err := srv.WriteTo(got)
			if err == nil {
				break
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("after %d bytes: got %v, want ErrDeadlineExceeded", got.off, err)
			}
		}
		await(t, "the sender", sent)
		if got.off != size {
			t.Errorf("got %d bytes, want %d", got.off, size)
		}
	})
}

// A write deadline of the user ends a write before the send timeout does, with its own error, and
// leaves the connection open.
func TestWriteDeadlineBeforeSendTimeout(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		for what, set := range map[string]func(*transport.Conn, time.Time) error{
			"SetWriteDeadline": (*transport.Conn).SetWriteDeadline,
			"SetDeadline":      (*transport.Conn).SetDeadline,
		} {
			srv, cli := pair(t, transport.TCP{WriteBuffer: 4096})
			if err := set(srv, time.Now().Add(20*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			wantDeadline(t, what, await(t, "Write", asyncWrite(srv, bulk)).err)
			_, err := srv.Write([]byte("x"))
			wantDeadline(t, what+", the next write", err)
			set(srv, time.Time{})
			// The connection is still open: data of the peer arrives.
			sent := asyncWrite(cli, []byte("x"))
			if n, err := srv.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("%s: read: got %v, want data", what, err)
			}
			await(t, "Write", sent)
		}
	})
}

func wantDeadline(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, transport.ErrSendTimeout) {
		tb.Errorf("%s: got %v, want the deadline of the user", what, err)
	}
}

// A deadline that is set during a blocked write applies to it; one in the past ends it at once.
func TestWriteDeadlineEndsBlockedWrite(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, _ := pair(t, transport.TCP{WriteBuffer: 4096})
		done := asyncWrite(srv, bulk)
		waitBlocked(t, 1, "transport.(*Conn).Write(")
		srv.SetWriteDeadline(time.Now().Add(-time.Second))
		wantDeadline(t, "Write", await(t, "Write", done).err)
	})
}

// A later deadline, or none, that is set during a blocked write does not extend its send timeout.
func TestWriteDeadlineDoesNotExtendSendTimeout(t *testing.T) {
	t.Parallel()
	for _, later := range []time.Time{{}, time.Now().Add(time.Hour)} {
		withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
			srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: 100 * time.Millisecond})
			done := asyncWrite(srv, bulk)
			waitFor(t, "the write waits", func() bool { return countBlocked("transport.(*Conn).Write(") > 0 || len(done) > 0 })
			srv.SetWriteDeadline(later)
			wantIs(t, await(t, "Write", done).err, transport.ErrSendTimeout)
		})
	}
}

// If both have passed when the write returns, the error is that of the earlier one.
func TestWriteDeadlineAndSendTimeoutBothPassed(t *testing.T) {
	for deadline, want := range map[time.Duration]error{
		5 * time.Second:  os.ErrDeadlineExceeded,
		15 * time.Second: transport.ErrSendTimeout,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			c := transport.NewConn(transport.TCP{SendTimeout: 10 * time.Second}, slowWriter{a})
			c.SetWriteDeadline(time.Now().Add(deadline))
			_, err := c.Write([]byte("x"))
			wantIs(t, err, want)
			if errors.Is(err, transport.ErrSendTimeout) != (want == transport.ErrSendTimeout) {
				t.Errorf("deadline after %v: got %v, want the error of the earlier limit", deadline, err)
			}
			c.Abort()
		})
	}
}

// slowWriter is a connection whose Write returns late.
type slowWriter struct{ net.Conn }

func (l slowWriter) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	<-time.After(time.Minute)
	return n, err
}

// The earlier limit ends the write.
func TestSendTimeoutBeforeWriteDeadline(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout})
		srv.SetWriteDeadline(time.Now().Add(time.Hour))
		wantIs(t, await(t, "Write", asyncWrite(srv, bulk)).err, transport.ErrSendTimeout)
	})
}

// After a blocked write, the deadline of the user applies again.
func TestWriteDeadlineAfterBlockedWrite(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "pipe"} {
		t.Run(name, func(t *testing.T) {
			inTime(t, 100*time.Millisecond, func(wait time.Duration) bool {
				srv, cli, ahead := newBlocked(t, name, transport.TCP{WriteBuffer: 64 << 10})
				write := asyncWrite(srv, more)
				waitBlocked(t, 1, "transport.(*Conn).Write(")
				end := time.Now().Add(wait)
				srv.SetWriteDeadline(end)
				drain(t, cli, ahead+int64(len(more)))
				if r := await(t, "Write", write); r.err != nil {
					return false
				}
				var err error
				for range 10 { // these writes need not wait; the poller may notice the deadline late
					<-time.After(time.Until(end.Add(10 * time.Millisecond)))
					if _, err = srv.Write([]byte("x")); err != nil {
						break
					}
					end = end.Add(10 * time.Millisecond)
				}
				wantDeadline(t, "a write after the deadline", err)
				return true
			})
		})
	}
}

// more does not fit into a full socket, whose buffer the kernel may still grow a little.
var more = bulk[:256<<10]

// newBlocked returns a connection on which a write of more blocks, and the number of bytes before
// it.
func newBlocked(t *testing.T, name string, opts transport.TCP) (*transport.Conn, net.Conn, int64) {
	t.Helper()
	if name == "pipe" { // accepts nothing without a reader
		srv, cli := pipe(t, opts)
		return srv, cli, 0
	}
	srv, cli := kindNamed(name).pair(t, opts)
	return srv, cli, fillSocket(t, srv.NetConn())
}

func drain(tb testing.TB, nc net.Conn, n int64) {
	tb.Helper()
	if m, err := io.CopyN(io.Discard, nc, n); err != nil {
		tb.Fatalf("got %d bytes, want %d: %v", m, n, err)
	}
}

// The send timeout of a blocked write does not apply to the next write.
func TestSendTimeoutEndsWithItsWrite(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "pipe"} {
		t.Run(name, func(t *testing.T) {
			inTime(t, 150*time.Millisecond, func(timeout time.Duration) bool {
				srv, cli, ahead := newBlocked(t, name, transport.TCP{WriteBuffer: 64 << 10, SendTimeout: timeout})
				write := asyncWrite(srv, more)
				waitBlockedOrDone(t, 1, "transport.(*Conn).Write(", write)
				received := async(func() (int64, error) { return io.CopyN(io.Discard, cli, ahead+int64(len(more))) })
				if r := await(t, "Write", write); r.err != nil {
					return false
				}
				if r := await(t, "the peer", received); r.err != nil {
					t.Fatalf("peer: got %d bytes, %v, want all", r.n, r.err)
				}
				<-time.After(timeout + 10*time.Millisecond) // there is no event to wait for
				exchange(t, srv, cli)
				return true
			})
		})
	}
}
