package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
)

func TestCloseTwice(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		if err := srv.Close(); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("second Close: got %v, want no error", err)
		}
		srv.Abort()
		if n, err := cli.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("peer: got %d, %v, want EOF", n, err)
		}
		_, err := srv.Read(make([]byte, 1))
		wantIs(t, err, net.ErrClosed)
		_, err = srv.WriteTo(io.Discard)
		wantIs(t, err, net.ErrClosed)
		if _, err := srv.Write([]byte("x")); err == nil {
			t.Error("Write after Close: got no error, want one")
		}
		if _, err := srv.ReadFrom(bytes.NewReader([]byte("x"))); err == nil {
			t.Error("ReadFrom after Close: got no error, want one")
		}
	})
}

// slowConn closes only when it may.
type slowConn struct {
	net.Conn
	closing, mayClose chan struct{}
}

func (c *slowConn) Close() error {
	close(c.closing)
	<-c.mayClose
	return c.Conn.Close()
}

// Close returns when the socket is closed, also if another goroutine closes it.
func TestCloseWaits(t *testing.T) {
	for name, other := range map[string]func(c *transport.Conn){
		"Abort": (*transport.Conn).Abort,
		"Close": func(c *transport.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				defer client.Close()
				nc := &slowConn{server, make(chan struct{}), make(chan struct{})}
				c := transport.NewConn(new(transport.Mem), nc)
				go other(c)
				<-nc.closing
				var returned atomic.Int32
				for range 3 {
					go func() { c.Close(); returned.Add(1) }()
				}
				synctest.Wait()
				if n := returned.Load(); n > 0 {
					t.Errorf("got %d calls of Close that have returned before the socket was closed, want 0", n)
				}
				close(nc.mayClose)
				synctest.Wait()
				if n := returned.Load(); n != 3 {
					t.Errorf("got %d calls of Close that have returned, want 3", n)
				}
			})
		})
	}
}

func TestAbort(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		read := asyncRead(srv, make([]byte, 1))
		waitBlocked(t, 1, "transport.(*Conn).Read(")
		srv.Abort()
		wantIs(t, await(t, "Read", read).err, net.ErrClosed)
		if err := srv.Close(); err != nil {
			t.Errorf("Close after Abort: got %v, want no error", err)
		}
		srv.Abort()
		_, err := cli.Read(make([]byte, 1))
		wantIs(t, err, io.EOF) // crypto/tls does not require close_notify
	})
}

// Close sends close_notify, and waits if the peer does not read. Abort ends that Close at once.
func TestAbortEndsBlockedClose(t *testing.T) {
	// A full Unix socket accepts nothing more; a TCP socket may have space for close_notify.
	srv, _ := kindNamed("unix+tls").pair(t, transport.TCP{WriteBuffer: 4096})
	fillSocket(t, srv.NetConn())
	closed := async(func() (int64, error) { return 0, srv.Close() })
	waitBlocked(t, 1, "transport.(*Conn).Close(")
	start := time.Now()
	srv.Abort()
	await(t, "Close", closed)
	if d := time.Since(start); d > 4*time.Second { // crypto/tls waits for 5 s
		t.Errorf("Close ended %v after Abort, want it at once", d)
	}
}

func TestCloseEndsBlockedCalls(t *testing.T) {
	for what, end := range map[string]func(*transport.Conn){
		"Close": func(c *transport.Conn) { c.Close() },
		"Abort": (*transport.Conn).Abort,
	} {
		eachKind(t, func(t *testing.T, k kind) {
			t.Run(what, func(t *testing.T) {
				srv, _ := k.pair(t, transport.TCP{WriteBuffer: 4096})
				read := asyncRead(srv, make([]byte, 1))
				waitBlocked(t, 1, "transport.(*Conn).Read(")
				write := asyncWrite(srv, bulk)
				waitBlocked(t, 1, "transport.(*Conn).Write(")
				end(srv)
				if r := await(t, "Read", read); !errors.Is(r.err, net.ErrClosed) {
					t.Errorf("Read: got %v, want net.ErrClosed", r.err)
				}
				if r := await(t, "Write", write); r.err == nil || errors.Is(r.err, transport.ErrSendTimeout) {
					t.Errorf("Write: got %v, want an error other than ErrSendTimeout", r.err)
				}
			})
		})
	}
}

func TestCloseEndsCopies(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, _ := k.pair(t, transport.TCP{WriteBuffer: 4096})
		out := async(func() (int64, error) { return srv.WriteTo(io.Discard) })
		waitBlocked(t, 1, "transport.(*Conn).WriteTo(")
		in := async(func() (int64, error) { return srv.ReadFrom(&stream{n: int64(len(bulk))}) })
		waitBlocked(t, 1, "transport.(*Conn).ReadFrom(")
		srv.Close()
		if r := await(t, "WriteTo", out); !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("WriteTo: got %v, want net.ErrClosed", r.err)
		}
		if r := await(t, "ReadFrom", in); r.err == nil || errors.Is(r.err, transport.ErrSendTimeout) {
			t.Errorf("ReadFrom: got %v, want an error other than ErrSendTimeout", r.err)
		}
	})
}

// Calls in progress end on Close, without a panic or a data race.
func TestCloseRace(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		tr := k.make(transport.TCP{WriteBuffer: 4096})
		ln := listen(t, tr, k.addr(t))
		for i := range 10 {
			srv, cli := connectTo(t, tr, ln)
			var wg sync.WaitGroup
			if i%2 == 0 {
				wg.Go(func() { srv.WriteTo(io.Discard) })
			} else {
				wg.Go(func() {
					for p := make([]byte, 512); ; {
						if _, err := srv.Read(p); err != nil {
							return
						}
					}
				})
			}
			for range 2 {
				wg.Go(func() {
					for p := make([]byte, 10_000); ; {
						if _, err := srv.Write(p); err != nil {
							return
						}
					}
				})
			}
			wg.Go(func() { io.Copy(cli, &stream{n: 1 << 30}) })
			wg.Go(func() { io.CopyN(io.Discard, cli, int64(i)*30_000) })
			wg.Go(func() { srv.SetDeadline(time.Now().Add(time.Hour)) })
			wg.Go(func() { srv.Stats() })
			if i%3 == 0 {
				wg.Go(func() { srv.StopReading(errors.New("enough")) })
			}
			wg.Go(func() { srv.Close() })
			wg.Go(func() { srv.Close() })
			wg.Go(srv.Abort)
			wg.Go(func() { srv.CloseWrite() })
			wg.Wait()
			cli.Close()
		}
	})
}

func TestCloseWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		srv.Write([]byte("answer"))
		if err := srv.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(cli); string(got) != "answer" || err != nil {
			t.Errorf("peer: got %q, %v, want the data and EOF", got, err)
		}
		if _, err := srv.Write([]byte("x")); err == nil {
			t.Error("Write after CloseWrite: got no error, want one")
		}
		cli.Write([]byte("to the server"))
		p := make([]byte, 64)
		if n, err := srv.Read(p); string(p[:n]) != "to the server" || err != nil {
			t.Errorf("Read after CloseWrite: got %q, %v, want the data of the peer", p[:n], err)
		}
	})
}

func TestCloseRead(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		t.Run(name, func(t *testing.T) {
			srv, cli := kindNamed(name).pair(t, transport.TCP{})
			read := asyncRead(srv, make([]byte, 1))
			waitBlocked(t, 1, "transport.(*Conn).Read(")
			if err := srv.CloseRead(); err != nil {
				t.Fatal(err)
			}
			if r := await(t, "Read", read); r.err != io.EOF {
				t.Errorf("blocked read: got %v, want EOF", r.err)
			}
			srv.Write([]byte("to the client"))
			p := make([]byte, 64)
			if n, err := cli.Read(p); string(p[:n]) != "to the client" || err != nil {
				t.Errorf("Write after CloseRead: peer got %q, %v, want the data", p[:n], err)
			}
		})
	}
}

func TestHalfCloseUnsupported(t *testing.T) {
	srv, _ := pipe(t, transport.TCP{})
	for what, err := range map[string]error{"CloseWrite": srv.CloseWrite(), "CloseRead": srv.CloseRead()} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got %v, want errors.ErrUnsupported", what, err)
		}
		var oe *net.OpError
		if !errors.As(err, &oe) || oe.Op != "close" || oe.Net != "pipe" {
			t.Errorf("%s: got %#v, want a *net.OpError of close", what, err)
		}
	}
	// The connection is still open.
	srv2, cli := pipe(t, transport.TCP{})
	srv2.CloseWrite()
	exchange(t, srv2, cli)
}
