package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/engine"
	"goranch/transport"
)

func TestConnAccessors(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		tr := k.make(transport.TCP{})
		ln := listen(t, tr, k.addr(t))
		srv, cli := connectTo(t, tr, ln)
		if got, want := srv.LocalAddr().String(), ln.Addr().String(); got != want {
			t.Errorf("LocalAddr: got %q, want %q", got, want)
		}
		if got, want := srv.RemoteAddr().String(), cli.LocalAddr().String(); got != want {
			t.Errorf("RemoteAddr: got %q, want %q", got, want)
		}
		if srv.Transport().Name() != tr.Name() {
			t.Errorf("Transport: got %v, want that of NewConn", srv.Transport())
		}
		if _, ok := srv.NetConn().(interface{ NetConn() net.Conn }); ok {
			t.Errorf("NetConn: got %T, want the accepted connection", srv.NetConn())
		}
		state, secure := srv.TLS()
		if secure != (k.tls != 0) || secure && (state.Version != k.tls || !state.HandshakeComplete || state.ServerName != "localhost") {
			t.Errorf("TLS: got %v, %+v, want the state of a TLS connection, or none", secure, state)
		}
		exchange(t, srv, cli)
	})
}

func TestConnOwner(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	owner := new(int)
	var c transport.Conn
	engine.Init(&c, transport.TCP{}, a, owner)
	if got := engine.Of(&c).Owner(); got != any(owner) {
		t.Errorf("got owner %v, want %v", got, owner)
	}
	if got := engine.Of(transport.NewConn(transport.TCP{}, a)).Owner(); got != nil {
		t.Errorf("got owner %v without one, want nil", got)
	}
}

func TestIDsAreUnique(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	const each, workers = 1000, 8
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				c := new(transport.Conn)
				engine.Init(c, transport.TCP{}, a, nil)
				mu.Lock()
				if seen[c.ID()] || c.ID() == 0 {
					t.Errorf("got id %d, want a positive number that is used once", c.ID())
				}
				seen[c.ID()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != each*workers {
		t.Errorf("got %d ids, want %d", len(seen), each*workers)
	}
}

// wantStats compares all four counters.
func wantStats(tb testing.TB, what string, c *transport.Conn, want transport.Stats) {
	tb.Helper()
	if diff := cmp.Diff(want, c.Stats()); diff != "" {
		tb.Errorf("%s: counters (-want +got):\n%s", what, diff)
	}
}

func TestStatsOfReadAndWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		wantStats(t, "fresh", srv, transport.Stats{}) // the handshake is not payload

		cli.Write(make([]byte, 100))
		srv.Read(make([]byte, 60))
		srv.Read(make([]byte, 60))
		wantStats(t, "100 bytes read in two", srv, transport.Stats{Reads: 2, BytesRead: 100})

		srv.Write(make([]byte, 10))
		srv.Write(make([]byte, 7))
		wantStats(t, "17 bytes written in two", srv, transport.Stats{Reads: 2, BytesRead: 100, Writes: 2, BytesWritten: 17})

		cli.Close()
		for { // TLS may report the end of TLS and that of the socket
			if _, err := srv.Read(make([]byte, 1)); err != nil {
				break
			}
		}
		if s := srv.Stats(); s.Reads != 3 || s.BytesRead != 100 {
			t.Errorf("got %+v, want 3 reads with 100 bytes: the read that returns EOF counts", s)
		}
		srv.Close()
		if _, err := srv.Write([]byte("x")); err == nil {
			t.Error("Write after Close: got no error, want one")
		}
		if s := srv.Stats(); s.Writes != 3 || s.BytesWritten != 17 {
			t.Errorf("got %+v, want 3 writes with 17 bytes: the failed write counts", s)
		}
	})
}

func TestStatsOfCopies(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		const size = 300_000
		srv, cli := k.pair(t, transport.TCP{})
		sent := async(func() (int64, error) {
			n, err := io.Copy(cli, &stream{n: size})
			closeWrite(t, cli)
			return n, err
		})
		n, err := srv.WriteTo(&checker{})
		if n != size || err != nil {
			t.Fatalf("WriteTo: got %d, %v, want all bytes", n, err)
		}
		await(t, "the sender", sent)
		s := srv.Stats()
		if s.BytesRead != size || s.Reads < 2 || s.BytesWritten != 0 || s.Writes != 0 {
			t.Errorf("after WriteTo: got %+v, want all bytes counted", s)
		}

		got := async(func() (int64, error) { return io.Copy(&checker{}, cli) })
		n, err = srv.ReadFrom(&stream{n: size})
		if n != size || err != nil {
			t.Fatalf("ReadFrom: got %d, %v, want all bytes", n, err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
		if r := await(t, "the receiver", got); r.n != size || r.err != nil {
			t.Errorf("peer: got %d bytes, %v, want all", r.n, r.err)
		}
		if s := srv.Stats(); s.BytesWritten != size || s.Writes == 0 || s.BytesRead != size {
			t.Errorf("after ReadFrom: got %+v, want all bytes counted", s)
		}
	})
}

func TestStatsOfConnToConn(t *testing.T) {
	for _, from := range kinds {
		for _, to := range kinds {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				const size = 1 << 20
				src, in := from.pair(t, transport.TCP{})
				dst, out := to.pair(t, transport.TCP{})
				sent := async(func() (int64, error) {
					n, err := io.Copy(in, &stream{n: size})
					closeWrite(t, in)
					return n, err
				})
				got := async(func() (int64, error) { return io.Copy(&checker{}, out) })
				if n, err := src.WriteTo(dst); n != size || err != nil {
					t.Fatalf("WriteTo: got %d, %v, want all bytes", n, err)
				}
				dst.Close()
				await(t, "the sender", sent)
				if r := await(t, "the receiver", got); r.n != size || r.err != nil {
					t.Errorf("receiver: got %d bytes, %v, want all", r.n, r.err)
				}
				if s := src.Stats(); s.BytesRead != size || s.BytesWritten != 0 {
					t.Errorf("source: got %+v, want all bytes counted as read", s)
				}
				if s := dst.Stats(); s.BytesWritten != size || s.BytesRead != 0 {
					t.Errorf("destination: got %+v, want all bytes counted as written", s)
				}
			})
		}
	}
}

func closeWrite(tb testing.TB, nc net.Conn) {
	if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		tb.Errorf("CloseWrite: got %v, want no error", err)
	}
}

func TestEmptyReadAndWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		srv, cli := k.pair(t, transport.TCP{})
		if n, err := srv.Write(nil); n != 0 || err != nil {
			t.Errorf("Write(nil): got %d, %v, want 0, nil", n, err)
		}
		if n, err := srv.Read(nil); n != 0 || err != nil {
			t.Errorf("Read(nil): got %d, %v, want 0, nil", n, err)
		}
		if n, err := srv.ReadFrom(bytes.NewReader(nil)); n != 0 || err != nil {
			t.Errorf("ReadFrom of an empty reader: got %d, %v, want 0, nil", n, err)
		}
		exchange(t, srv, cli)
	})
}

// A large write that the socket takes in parts arrives completely and in order.
func TestLargeWrite(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		const size = 1 << 20
		srv, cli := k.pair(t, transport.TCP{WriteBuffer: 32 << 10})
		p := fill(make([]byte, size), 0)
		write := asyncWrite(srv, p)
		got := &checker{}
		if n, err := io.CopyN(got, cli, size); n != size || err != nil {
			t.Errorf("peer: got %d bytes, %v, want all", n, err)
		}
		if r := await(t, "Write", write); r.n != size || r.err != nil {
			t.Errorf("Write: got %d, %v, want all bytes", r.n, r.err)
		}
	})
}

// Data of concurrent writers, each more than the socket takes at once, is not interleaved.
func TestConcurrentWritesAreNotInterleaved(t *testing.T) {
	for _, opts := range []transport.TCP{
		{WriteBuffer: 4096},
		{WriteBuffer: 4096, SendTimeout: -1},
	} {
		eachKind(t, func(t *testing.T, k kind) { checkRecords(t, k.pair, opts) })
		t.Run("pipe", func(t *testing.T) { checkRecords(t, pipe, opts) })
	}
}

func checkRecords(t *testing.T, pair func(testing.TB, transport.TCP) (*transport.Conn, net.Conn), opts transport.TCP) {
	// Each record consists of bytes that identify its writer.
	const writers, records, size = 4, 8, 50_000
	srv, cli := pair(t, opts)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			p := bytes.Repeat([]byte{byte('a' + w)}, size+w*1000)
			for range records {
				if n, err := srv.Write(p); n != len(p) || err != nil {
					t.Errorf("writer %d: got %d, %v, want all bytes", w, n, err)
				}
			}
		})
	}
	var total uint64
	seen := make([]int, writers)
	p := make([]byte, size+writers*1000)
	for range writers * records {
		if _, err := io.ReadFull(cli, p[:1]); err != nil {
			t.Fatal(err)
		}
		w := int(p[0] - 'a')
		if w < 0 || w >= writers {
			t.Fatalf("got a record that begins with %q, want the number of a writer", p[0])
		}
		rec := p[:size+w*1000]
		// The peer reads slowly at first, so that the socket stays full.
		for off := 1; off < len(rec); {
			step := len(rec) - off
			if off < 4000 {
				step = min(step, 500)
			}
			n, err := io.ReadFull(cli, rec[off:off+step])
			if err != nil {
				t.Fatal(err)
			}
			off += n
		}
		if n := bytes.Count(rec, p[:1]); n != len(rec) {
			t.Fatalf("record of writer %d: got %d bytes of other writers, want 0", w, len(rec)-n)
		}
		seen[w]++
		total += uint64(len(rec))
	}
	wg.Wait()
	for w, n := range seen {
		if n != records {
			t.Errorf("writer %d: got %d records, want all", w, n)
		}
	}
	wantStats(t, "the writers", srv, transport.Stats{Writes: writers * records, BytesWritten: total})
}

// After a reset by the client, calls of the server fail with the error of the system, as with
// package net.
// halfWriter takes one half of each write and returns no error.
type halfWriter struct{ net.Conn }

func (halfWriter) Write(p []byte) (int, error)      { return len(p) / 2, nil }
func (halfWriter) SetWriteDeadline(time.Time) error { return nil }

// A net.Conn of other code that takes a part of a write without an error must not lose the rest
// unnoticed.
func TestShortWrite(t *testing.T) {
	for _, tr := range []transport.Transport{new(transport.Mem), transport.TCP{SendTimeout: time.Minute}} {
		n, err := transport.NewConn(tr, halfWriter{}).Write(make([]byte, 10))
		if n != 5 || err != io.ErrShortWrite {
			t.Errorf("%s: got %d, %v, want 5, %v", tr.Name(), n, err, io.ErrShortWrite)
		}
	}
}

func TestPeerReset(t *testing.T) {
	for _, k := range []kind{kindNamed("tcp"), kindNamed("tls1.3"), kindNamed("tls1.2")} {
		srv, cli := k.pair(t, transport.TCP{})
		read := async(func() (int64, error) { return srv.WriteTo(io.Discard) })
		waitBlocked(t, 1, "transport.(*Conn).WriteTo(")
		tcpOf(t, cli).SetLinger(0)
		tcpOf(t, cli).Close()
		r := await(t, "WriteTo", read)
		var oe *net.OpError
		if !errors.As(r.err, &oe) || oe.Op != "read" || oe.Timeout() {
			t.Errorf("%s: WriteTo: got %#v, want a *net.OpError of read", k.name, r.err)
		}
		if _, err := srv.Write([]byte("x")); err == nil {
			t.Errorf("%s: Write after a reset: got no error, want one", k.name)
		}
	}
}

// Errors of writes have the form of those of package net.
func TestWriteErrorForm(t *testing.T) {
	for _, name := range []string{"tcp", "unix"} {
		srv, _ := kindNamed(name).pair(t, transport.TCP{})
		srv.Abort()
		_, got := srv.Write([]byte("x"))
		_, want := srv.NetConn().Write([]byte("x"))
		var g, w *net.OpError
		if !errors.As(got, &g) || !errors.As(want, &w) {
			t.Fatalf("%s: got %#v, want a *net.OpError as %#v", name, got, want)
		}
		if g.Op != w.Op || g.Net != strings.TrimRight(w.Net, "46") || g.Err != w.Err || g.Addr.String() != w.Addr.String() {
			t.Errorf("%s: got %v, want the form of %v", name, got, want)
		}
	}
}

var _ net.Conn = (*transport.Conn)(nil)
var _ io.WriterTo = (*transport.Conn)(nil)
var _ io.ReaderFrom = (*transport.Conn)(nil)
