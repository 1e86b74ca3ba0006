package transport_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
)

const shortTimeout = 20 * time.Millisecond

// sends are the ways to send more than the peer accepts.
func sends(tb testing.TB) map[string]func(*transport.Conn) (int64, error) {
	file := fileOf(tb, int64(len(bulk)))
	return map[string]func(*transport.Conn) (int64, error){
		"Write":    func(c *transport.Conn) (int64, error) { n, err := c.Write(bulk); return int64(n), err },
		"ReadFrom": func(c *transport.Conn) (int64, error) { return c.ReadFrom(&stream{n: int64(len(bulk))}) },
		"ReadFrom a file": func(c *transport.Conn) (int64, error) {
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return 0, err
			}
			return c.ReadFrom(file)
		},
		"SendFile": func(c *transport.Conn) (int64, error) { return c.SendFile(file, 0, 0, 0) },
	}
}

// fileOf returns a file with the first n bytes of the test data.
func fileOf(tb testing.TB, n int64) *os.File {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "data"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	if _, err := io.Copy(struct{ io.Writer }{f}, &stream{n: n}); err != nil {
		tb.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		tb.Fatal(err)
	}
	return f
}

// A peer that does not read costs its own connection, and no more time than the send timeout.
func TestSendTimeoutCloses(t *testing.T) {
	sends := sends(t)
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		for name, send := range sends {
			srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout})
			read := asyncRead(srv, make([]byte, 1))
			waitBlocked(t, 1, "transport.(*Conn).Read(")
			start := time.Now()
			r := await(t, name, async(func() (int64, error) { return send(srv) }))
			if d := time.Since(start); d < shortTimeout {
				t.Errorf("%s: got an end after %v, want at least %v", name, d, shortTimeout)
			}
			wantSendTimeout(t, name, r.err)
			if r.n >= int64(len(bulk)) {
				t.Errorf("%s: got all %d bytes and an error, want fewer bytes", name, r.n)
			}
			if _, err := srv.Write([]byte("x")); err == nil {
				t.Errorf("%s: got an open connection, want it closed", name)
			}
			if r := await(t, "Read", read); r.err == nil {
				t.Errorf("%s: blocked read: got %d bytes, want an error", name, r.n)
			}
			if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: Close: got %v, want no error", name, err)
			}
		}
	})
}

func wantSendTimeout(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errors.Is(err, transport.ErrSendTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
		tb.Errorf("%s: got %v, want ErrSendTimeout", what, err)
	}
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		tb.Errorf("%s: got %v, want a net.Error that is a timeout", what, err)
	}
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "write" {
		tb.Errorf("%s: got %#v, want a *net.OpError of write", what, err)
	}
}

// With KeepOnSendTimeout, the number of bytes sent is exact, and the connection can be used
// afterwards.
func TestSendTimeoutKeeps(t *testing.T) {
	sends := sends(t)
	for _, name := range []string{"tcp", "unix"} {
		t.Run(name, func(t *testing.T) {
			for what, send := range sends {
				srv, cli := kindNamed(name).pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout, KeepOnSendTimeout: true})
				first := await(t, what, async(func() (int64, error) { return send(srv) }))
				wantSendTimeout(t, what, first.err)
				again := await(t, "Write", asyncWrite(srv, bulk)) // has a send timeout of its own
				wantSendTimeout(t, what+", again", again.err)
				if got := srv.Stats().BytesWritten; got != uint64(first.n+again.n) {
					t.Errorf("%s: got %d bytes counted, want the results %d and %d", what, got, first.n, again.n)
				}
				p := make([]byte, first.n)
				if _, err := io.ReadFull(cli, p); err != nil {
					t.Fatalf("%s: read of %d bytes: got %v, want no error", what, first.n, err)
				}
				if what != "Write" { // Write sent zeros
					if _, err := new(checker).Write(p); err != nil {
						t.Errorf("%s: got %v, want the data of the file", what, err)
					}
				}
				drain(t, cli, again.n)
				exchange(t, srv, cli) // no byte is missing in between
			}
		})
	}
	t.Run("pipe", func(t *testing.T) {
		srv, cli := pipe(t, transport.TCP{SendTimeout: shortTimeout, KeepOnSendTimeout: true})
		read := asyncRead(cli, make([]byte, 4))
		waitBlocked(t, 1, "net.(*pipe).Read(") // within the send timeout it might begin too late
		write := asyncWrite(srv, []byte("0123456789"))
		if r := await(t, "Read", read); r.n != 4 || r.err != nil {
			t.Fatalf("Read: got %d, %v, want 4 bytes", r.n, r.err)
		}
		r := await(t, "Write", write)
		wantSendTimeout(t, "Write", r.err)
		if r.n != 4 {
			t.Errorf("Write: got %d, want 4", r.n)
		}
		exchange(t, srv, cli)
	})
}

// An incomplete record ends a TLS stream, so the connection is not kept.
func TestSendTimeoutNeverKeepsTLS(t *testing.T) {
	srv, _ := kindNamed("tls1.3").pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout, KeepOnSendTimeout: true})
	wantSendTimeout(t, "Write", await(t, "Write", asyncWrite(srv, bulk)).err)
	wantIs(t, await(t, "Read", asyncRead(srv, make([]byte, 1))).err, net.ErrClosed)
}

// The default is 30 s; negative values are no limit.
func TestSendTimeoutValues(t *testing.T) {
	for _, tt := range []struct {
		timeout time.Duration
		want    time.Duration // 0: none
	}{
		{0, 30 * time.Second},
		{7 * time.Second, 7 * time.Second},
		{time.Nanosecond, time.Nanosecond},
		{-1, 0},
	} {
		for _, k := range []struct {
			name string
			tr   transport.Transport
		}{
			{"tcp", transport.TCP{SendTimeout: tt.timeout}},
			{"tls", transport.TLS{TCP: transport.TCP{SendTimeout: tt.timeout}}},
		} {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				defer b.Close()
				c := transport.NewConn(k.tr, a)
				start := time.Now()
				done := asyncWrite(c, []byte("x"))
				select {
				case r := <-done:
					wantSendTimeout(t, k.name, r.err)
					if d := time.Since(start); d != tt.want || tt.want == 0 {
						t.Errorf("%s: timeout %v: got it after %v, want %v", k.name, tt.timeout, d, tt.want)
					}
				case <-time.After(1000 * time.Hour):
					if tt.want != 0 {
						t.Errorf("%s: timeout %v: got none, want it after %v", k.name, tt.timeout, tt.want)
					}
					c.Abort()
					<-done
				}
			})
		}
	}
}

// A transport outside this package has no send timeout.
func TestForeignTransportHasNoSendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := transport.NewConn(struct{ transport.Transport }{}, a)
		done := asyncWrite(c, []byte("x"))
		select {
		case r := <-done:
			t.Errorf("Write: got %v, want no error", r.err)
		case <-time.After(1000 * time.Hour):
			c.Abort()
			<-done
		}
	})
}

// The send timeout applies to each write: a peer that accepts each write in time may take any time
// for all of them.
func TestSendTimeoutIsPerWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := transport.NewConn(transport.TCP{SendTimeout: 10 * time.Second}, a)
		var peer sync.WaitGroup
		defer peer.Wait()
		peer.Go(func() {
			for p := make([]byte, 1); ; <-time.After(9 * time.Second) {
				if _, err := b.Read(p); err != nil {
					return
				}
			}
		})
		for range 100 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		// A write of several bytes must be accepted completely within the limit.
		start := time.Now()
		n, err := c.Write([]byte("0123"))
		wantSendTimeout(t, "Write", err)
		if d := time.Since(start); n != 1 || d != 10*time.Second {
			t.Errorf("got %d bytes in %v, want 1 byte in 10s", n, d)
		}
	})
}

// A blocked write that succeeds does not remove the send timeout of the next one, which is already
// waiting.
func TestSendTimeoutAppliesToEachWriter(t *testing.T) {
	file := fileOf(t, int64(len(bulk)))
	for _, name := range []string{"pipe", "tcp", "unix"} {
		t.Run(name, func(t *testing.T) {
			inTime(t, 250*time.Millisecond, func(timeout time.Duration) bool {
				srv, cli, ahead := newBlocked(t, name, transport.TCP{WriteBuffer: 64 << 10, SendTimeout: timeout})
				first := asyncWrite(srv, more)
				waitBlockedOrDone(t, 1, "transport.(*Conn).Write(", first)
				second := async(func() (int64, error) {
					if name == "tcp" {
						file.Seek(0, io.SeekStart)
						return srv.ReadFrom(file) // sendfile waits in another way
					}
					n, err := srv.Write(bulk)
					return int64(n), err
				})
				waitBlockedOrDone(t, 2, "transport.(*Conn).", first)
				received := async(func() (int64, error) { return io.CopyN(io.Discard, cli, ahead+int64(len(more))) })
				if r := await(t, "the first writer", first); r.err != nil {
					await(t, "the second writer", second)
					return false
				}
				if r := await(t, "the peer", received); r.err != nil {
					t.Fatalf("peer: got %d bytes, %v, want all", r.n, r.err)
				}
				r := await(t, "the second writer", second)
				wantSendTimeout(t, "the second writer", r.err)
				return true
			})
		})
	}
}

// All writers that wait for a peer that does not read end, in whatever order their limits expire. A
// new writer does not extend the limits of the others.
func TestSendTimeoutEndsAllWriters(t *testing.T) {
	withPipe(t, func(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn)) {
		srv, _ := pair(t, transport.TCP{WriteBuffer: 4096, SendTimeout: shortTimeout})
		start := time.Now()
		var wg sync.WaitGroup
		var timeouts int
		var mu sync.Mutex
		for range 20 {
			wg.Go(func() {
				_, err := srv.Write(bulk)
				if err == nil {
					t.Error("got a successful write, want errors only")
				}
				if errors.Is(err, transport.ErrSendTimeout) {
					mu.Lock()
					timeouts++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if timeouts == 0 {
			t.Error("got no ErrSendTimeout, want one")
		}
		// The first timeout closes the connection, which ends all writes.
		if d := time.Since(start); d > testTimeout {
			t.Errorf("got the end after %v, want it within a few timeouts", d)
		}
	})
}

// Other writers do not extend the limit of a waiting one.
func TestSendTimeoutIsNotExtended(t *testing.T) {
	const timeout = 200 * time.Millisecond
	file := fileOf(t, 1<<20)
	for _, name := range []string{"pipe", "tcp"} {
		t.Run(name, func(t *testing.T) {
			srv, _, _ := newBlocked(t, name, transport.TCP{WriteBuffer: 4096, SendTimeout: timeout})
			start := time.Now()
			first := asyncWrite(srv, bulk)
			waitBlockedOrDone(t, 1, "transport.(*Conn).Write(", first)
			var wg sync.WaitGroup
			stop := time.NewTicker(timeout / 3)
			defer stop.Stop()
			var r result
			for ended := false; !ended; {
				select {
				case r = <-first:
					ended = true
				case <-stop.C:
					if time.Since(start) > testTimeout {
						t.Fatal("got no end of the write, want ErrSendTimeout")
					}
					wg.Go(func() {
						if name == "tcp" {
							srv.ReadFrom(io.LimitReader(file, 1000))
						} else {
							srv.Write([]byte("x"))
						}
					})
				}
			}
			wantSendTimeout(t, "the first writer", r.err)
			srv.Abort()
			wg.Wait()
		})
	}
}
