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

var errCause = errors.New("the house closes")

// withPipe runs f over every kind, and over a connection that is no socket.
func withPipe(t *testing.T, f func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn))) {
	eachKind(t, func(t *testing.T, k kind) { f(t, k.pair) })
	t.Run("pipe", func(t *testing.T) { f(t, pipe) })
}

func TestStopReadingWakes(t *testing.T) {
	reads := map[string]func(*transport.Conn) (int64, error){
		"Read":    func(c *transport.Conn) (int64, error) { n, err := c.Read(make([]byte, 10)); return int64(n), err },
		"WriteTo": func(c *transport.Conn) (int64, error) { return c.WriteTo(io.Discard) },
		"ReadFrom": func(c *transport.Conn) (int64, error) {
			return transport.NewConn(transport.TCP{}, nowhere{}).ReadFrom(c)
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
				t.Errorf("%s: read %d bytes", name, r.n)
			}
			wantStopped(t, name, r.err)

			// It stays so, whatever is done.
			srv.StopReading(errors.New("another cause"))
			srv.SetReadDeadline(time.Time{})
			srv.SetDeadline(time.Now().Add(time.Hour))
			for again, read := range reads {
				_, err := read(srv)
				wantStopped(t, name+", then "+again, err)
			}

			// Writes go on, to the end.
			sent := asyncWrite(srv, []byte("farewell"))
			p := make([]byte, 8)
			if _, err := io.ReadFull(cli, p); err != nil || string(p) != "farewell" {
				t.Errorf("%s: the peer reads %q, %v", name, p, err)
			}
			await(t, "Write", sent)
			closed := async(func() (int64, error) { return 0, srv.Close() })
			if _, err := cli.Read(p); err != io.EOF {
				t.Errorf("%s: the peer's end is %v", name, err)
			}
			await(t, "Close", closed)
		}
	})
}

// nowhere is a connection to copy to that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error)      { return len(p), nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "nowhere", Net: "unix"} }
func (n nowhere) RemoteAddr() net.Addr           { return n.LocalAddr() }

func wantStopped(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errors.Is(err, errCause) {
		tb.Errorf("%s fails with %v, want the cause", what, err)
	}
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "read" {
		tb.Errorf("%s: not an error of reading: %#v", what, err)
	}
}

// What has not been read yet does not delay the end.
func TestStopReadingBeforeWhatHasArrived(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		srv, cli := kindNamed(name).pair(t, transport.TCP{})
		cli.Write([]byte("arrived"))
		srv.Read(make([]byte, 1)) // it has
		srv.StopReading(errCause)
		n, err := srv.Read(make([]byte, 10))
		if n != 0 {
			t.Errorf("%s: %d bytes after StopReading", name, n)
		}
		wantStopped(t, name, err)
	}
}

// TLS may still hand out what it has decrypted, but a peer that goes on sending cannot
// keep a read loop alive.
func TestStopReadingEndsALoopUnderAFlood(t *testing.T) {
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
			eventually(t, "the flood arrives", func() bool { return srv.Stats().BytesRead > 1<<20 })
			srv.StopReading(errCause)
			r := await(t, "the loop", looping)
			wantStopped(t, k.name, r.err)
			if r.n != got.off || uint64(r.n) != srv.Stats().BytesRead {
				t.Errorf("the loop says %d, its writer %d, the counter %d", r.n, got.off, srv.Stats().BytesRead)
			}
			srv.Abort()
			await(t, "the flood", flooding)
		}
	})
}

func TestStopReadingEndsAHandshake(t *testing.T) {
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
					t.Errorf("%s, %s: %v", what, name, err)
				}
				var ne net.Error
				if !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("%s, %s: no timeout to net: %v", what, name, err)
				}
			}
			// The connection has taken no harm.
			set(time.Time{})
			exchange(t, srv, cli)
		}
	})
}

// A deadline that comes in the middle of a record loses nothing.
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
				t.Fatalf("after %d bytes: %v", got.off, err)
			}
		}
		await(t, "the sender", sent)
		if got.off != size {
			t.Errorf("%d of %d bytes", got.off, size)
		}
	})
}

// A deadline of the user's ends a write before the send timeout does, under its own
// name, and leaves the connection open.
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
			wantDeadline(t, what, await(t, "Write", asyncWrite(srv, flood)).err)
			_, err := srv.Write([]byte("x"))
			wantDeadline(t, what+", the next write", err)
			set(srv, time.Time{})
			// It is still open: the peer's data comes in.
			sent := asyncWrite(cli, []byte("x"))
			if n, err := srv.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("%s: the connection did not survive: %v", what, err)
			}
			await(t, "Write", sent)
		}
	})
}

func wantDeadline(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, transport.ErrSendTimeout) {
		tb.Errorf("%s: %v, want the user's deadline", what, err)
	}
}

// A deadline set while a write waits holds for that write: one in the past ends it now.
func TestWriteDeadlineEndsABlockedWrite(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, _ := pair(t, transport.TCP{WriteBuffer: 4096})
		done := asyncWrite(srv, flood)
		waitBlocked(t, 1, "transport.(*Conn).Write(")
		srv.SetWriteDeadline(time.Now().Add(-time.Second))
		wantDeadline(t, "Write", await(t, "Write", done).err)
	})
}

// Nor does a later deadline, or none, that is set while a write waits put off the send
// timeout.
func TestWriteDeadlineDoesNotPutOffSendTimeout(t *testing.T) {
	for _, later := range []time.Time{{}, time.Now().Add(time.Hour)} {
		withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
			srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: 100 * time.Millisecond})
			done := asyncWrite(srv, flood)
			eventually(t, "the write waits", func() bool { return parked("transport.(*Conn).Write(") > 0 || len(done) > 0 })
			srv.SetWriteDeadline(later)
			wantIs(t, await(t, "Write", done).err, transport.ErrSendTimeout)
		})
	}
}

// Which of the two it was is said right even if the writer learns of it when both have
// passed: what came first.
func TestWriteDeadlineAndSendTimeoutBothPassed(t *testing.T) {
	for deadline, want := range map[time.Duration]error{
		5 * time.Second:  os.ErrDeadlineExceeded,
		15 * time.Second: transport.ErrSendTimeout,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			c := transport.NewConn(transport.TCP{SendTimeout: 10 * time.Second}, late{a})
			c.SetWriteDeadline(time.Now().Add(deadline))
			_, err := c.Write([]byte("x"))
			wantIs(t, err, want)
			if errors.Is(err, transport.ErrSendTimeout) != (want == transport.ErrSendTimeout) {
				t.Errorf("a deadline after %v: %v", deadline, err)
			}
			c.Abort()
		})
	}
}

// late is a connection whose writer is not told at once.
type late struct{ net.Conn }

func (l late) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	<-time.After(time.Minute)
	return n, err
}

// Whichever comes first ends the write.
func TestSendTimeoutBeforeWriteDeadline(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout})
		srv.SetWriteDeadline(time.Now().Add(time.Hour))
		wantIs(t, await(t, "Write", asyncWrite(srv, flood)).err, transport.ErrSendTimeout)
	})
}

// A write that had to wait gives the user's deadline back.
func TestWriteDeadlineOutlivesABlockedWrite(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "pipe"} {
		t.Run(name, func(t *testing.T) {
			try := func(wait time.Duration) (inTime bool) {
				srv, cli, ahead := clogged(t, name, transport.TCP{WriteBuffer: 64 << 10})
				write := asyncWrite(srv, more)
				waitBlocked(t, 1, "transport.(*Conn).Write(")
				end := time.Now().Add(wait)
				srv.SetWriteDeadline(end)
				drain(t, cli, ahead+int64(len(more)))
				if r := await(t, "Write", write); r.err != nil {
					return false
				}
				var err error
				for range 10 { // would not have to wait; the poller may be told a little late
					<-time.After(time.Until(end.Add(10 * time.Millisecond)))
					if _, err = srv.Write([]byte("x")); err != nil {
						break
					}
					end = end.Add(10 * time.Millisecond)
				}
				wantDeadline(t, "a write after the deadline", err)
				return true
			}
			for wait := 100 * time.Millisecond; !try(wait); wait *= 2 {
				if wait > patience {
					t.Fatal("the first write never gets through")
				}
			}
		})
	}
}

// more does not fit into a clogged socket, which the kernel may still widen a little.
var more = flood[:256<<10]

// clogged returns a connection on which a write of more has to wait, and how many bytes
// are under way before it.
func clogged(t *testing.T, name string, opts transport.TCP) (*transport.Conn, net.Conn, int64) {
	t.Helper()
	if name == "pipe" { // takes nothing at any time
		srv, cli := pipe(t, opts)
		return srv, cli, 0
	}
	srv, cli := kindNamed(name).pair(t, opts)
	return srv, cli, clog(t, srv.NetConn())
}

func drain(tb testing.TB, nc net.Conn, n int64) {
	tb.Helper()
	if m, err := io.CopyN(io.Discard, nc, n); err != nil {
		tb.Fatalf("%d of %d bytes: %v", m, n, err)
	}
}

// A write that had to wait leaves no limit behind for the next.
func TestSendTimeoutDoesNotOutliveItsWrite(t *testing.T) {
	const timeout = 150 * time.Millisecond
	for _, name := range []string{"tcp", "unix", "pipe"} {
		t.Run(name, func(t *testing.T) {
			srv, cli, ahead := clogged(t, name, transport.TCP{WriteBuffer: 64 << 10, SendTimeout: timeout})
			write := asyncWrite(srv, more)
			waitBlocked(t, 1, "transport.(*Conn).Write(")
			drain(t, cli, ahead+int64(len(more)))
			if r := await(t, "Write", write); r.err != nil {
				t.Fatalf("a peer that reads: %v", r.err)
			}
			<-time.After(timeout + 10*time.Millisecond) // no condition shows that nothing happens
			exchange(t, srv, cli)
		})
	}
}
