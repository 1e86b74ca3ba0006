package transport_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"

	"goranch/transport"
)

// random sends n random bytes in chunks of random size, ends the stream, and returns the hash of
// the bytes.
func random(tb testing.TB, w net.Conn, n int64) <-chan [sha256.Size]byte {
	sum := make(chan [sha256.Size]byte, 1)
	go func() {
		seed := [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}
		src, h := rand.NewChaCha8(seed), sha256.New()
		sizes := rand.New(src)
		buf := make([]byte, 200_000)
		for left := n; left > 0; {
			p := buf[:min(left, 1+sizes.Int64N(1+sizes.Int64N(int64(len(buf)))))]
			src.Read(p)
			h.Write(p)
			if _, err := w.Write(p); err != nil {
				tb.Errorf("send: got %v, want no error", err)
				break
			}
			left -= int64(len(p))
		}
		if c, ok := w.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		} else {
			w.Close()
		}
		sum <- [sha256.Size]byte(h.Sum(nil))
	}()
	return sum
}

// hashed reads all of r.
func hashed(r io.Reader) <-chan sum {
	done := make(chan sum, 1)
	go func() {
		h := sha256.New()
		n, err := io.Copy(h, struct{ io.Reader }{r})
		done <- sumOf(h, n, err)
	}()
	return done
}

type sum struct {
	n   int64
	sha [sha256.Size]byte
	err error
}

func sumOf(h hash.Hash, n int64, err error) sum {
	return sum{n: n, sha: [sha256.Size]byte(h.Sum(nil)), err: err}
}

var sizes = []int64{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 5 << 20}

// pairOf returns a pair of any kind, or one over a connection without a socket ("pipe").
func pairOf(tb testing.TB, name string) (*transport.Conn, net.Conn) {
	if name == "pipe" {
		return pipe(tb, transport.TCP{})
	}
	return kindNamed(name).pair(tb, transport.TCP{})
}

func TestConnToConn(t *testing.T) {
	ways := []struct {
		name string
		copy func(dst, src *transport.Conn) (int64, error)
	}{
		{"WriteTo", func(dst, src *transport.Conn) (int64, error) { return src.WriteTo(dst) }},
		{"ReadFrom", func(dst, src *transport.Conn) (int64, error) { return dst.ReadFrom(src) }},
		{"io.Copy", func(dst, src *transport.Conn) (int64, error) { return io.Copy(dst, src) }},
	}
	turn := 0
	for _, route := range []string{
		"tcp tcp", "tcp tls1.3", "tls1.3 tcp", "unix tcp", "tcp unix", "unix unix", "tls1.2 tls1.3", "unix+tls tcp", "tcp tls1.2", "pipe tcp", "tls1.3 pipe",
	} {
		t.Run(strings.ReplaceAll(route, " ", " to "), func(t *testing.T) {
			from, to, _ := strings.Cut(route, " ")
			for _, size := range sizes {
				way := ways[turn%len(ways)]
				turn++
				checkRoute(t, from, to, size, way.name, way.copy)
			}
		})
	}
}

func checkRoute(t *testing.T, from, to string, size int64, way string, copy func(dst, src *transport.Conn) (int64, error)) {
	t.Helper()
	src, in := pairOf(t, from)
	dst, out := pairOf(t, to)
	sent, got := random(t, in, size), hashed(out)
	n, err := copy(dst, src)
	if n != size || err != nil {
		t.Errorf("%s of %d bytes: got %d, %v, want all bytes", way, size, n, err)
	}
	dst.Close()
	r := <-got
	if r.n != size || r.err != nil || r.sha != <-sent {
		t.Errorf("%s of %d bytes: peer got %d bytes, %v, want the same data", way, size, r.n, r.err)
	}
	if s := src.Stats(); s.BytesRead != uint64(size) || s.BytesWritten != 0 {
		t.Errorf("%s of %d bytes: source: got %+v, want all bytes counted", way, size, s)
	}
	if s := dst.Stats(); s.BytesWritten != uint64(size) || s.BytesRead != 0 {
		t.Errorf("%s of %d bytes: destination: got %+v, want all bytes counted", way, size, s)
	}
	src.Close()
}

// A large copy, by splice and through TLS.
func TestLongConnToConn(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for route, size := range map[[2]string]int64{{"tcp", "tcp"}: 100 << 20, {"tls1.3", "tcp"}: 32 << 20} {
		t.Run(route[0]+" to "+route[1], func(t *testing.T) {
			checkRoute(t, route[0], route[1], size, "io.Copy", func(dst, src *transport.Conn) (int64, error) { return io.Copy(dst, src) })
		})
	}
}

func TestWriteToBuffer(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "unix+tls", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, size := range sizes {
				if size > 1<<20 && name != "tcp" && name != "tls1.3" {
					continue // too slow
				}
				src, in := pairOf(t, name)
				sent := random(t, in, size)
				var buf bytes.Buffer
				n, err := src.WriteTo(&buf)
				if n != size || err != nil || int64(buf.Len()) != size || sha256.Sum256(buf.Bytes()) != <-sent {
					t.Errorf("%d bytes: got %d, %d in the buffer, %v, want the same data", size, n, buf.Len(), err)
				}
				// Further reads return EOF again.
				if n, err := src.WriteTo(&buf); n != 0 || err != nil {
					t.Errorf("after the end: got %d, %v, want 0", n, err)
				}
				if n, err := src.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("after the end: got %d, %v, want EOF", n, err)
				}
			}
		})
	}
}

func TestReadFromReader(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "unix+tls", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, size := range sizes {
				dst, out := pairOf(t, name)
				got := async(func() (int64, error) { return io.Copy(new(checker), struct{ io.Reader }{out}) })
				n, err := dst.ReadFrom(&stream{n: size})
				if n != size || err != nil {
					t.Errorf("%d bytes: got %d, %v, want all bytes", size, n, err)
				}
				dst.Close()
				if r := await(t, "the peer", got); r.n != size || r.err != nil {
					t.Errorf("%d bytes: peer got %d, %v, want all bytes", size, r.n, r.err)
				}
			}
		})
	}
}

// The error of the reader is returned after its data was sent.
func TestReadFromFailingReader(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		dst, out := k.pair(t, transport.TCP{})
		errRead := errors.New("the disk is on fire")
		n, err := dst.ReadFrom(io.MultiReader(&stream{n: 1000}, failing{errRead}))
		if n != 1000 || err != errRead {
			t.Errorf("got %d, %v, want the data and the error of the reader", n, err)
		}
		drain(t, out, 1000)
		exchange(t, dst, out)
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestFileToConn(t *testing.T) {
	const size = 600_000
	const whole = int64(-1)
	for _, name := range []string{"tcp", "unix", "tls1.3", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct{ offset, limit, want int64 }{
				{0, whole, size},
				{1, whole, size - 1},
				{size - 1, whole, 1},
				{size, whole, 0},
				{size + 10, whole, 0}, // after the end
				{0, 0, 0},
				{0, -5, 0}, // a LimitedReader with a negative rest
				{0, 1, 1},
				{1000, 64 << 10, 64 << 10},
				{0, 256 << 10, 256 << 10}, // exactly one piece
				{7, 256<<10 + 1, 256<<10 + 1},
				{size - 10, 256 << 10, 10},
				{0, size, size},
				{100, size, size - 100},
				{0, 1 << 62, size},
				{size + 10, 100, 0},
			} {
				f := fileOf(t, size)
				if _, err := f.Seek(tt.offset, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				var r io.Reader = f
				lr := &io.LimitedReader{R: f, N: tt.limit}
				if tt.limit != whole {
					r = lr
				}
				dst, out := pairOf(t, name)
				got := async(func() (int64, error) {
					return io.Copy(&checker{off: tt.offset}, struct{ io.Reader }{out})
				})
				n, err := dst.ReadFrom(r)
				if n != tt.want || err != nil {
					t.Errorf("%+v: got %d, %v, want the size of the part", tt, n, err)
				}
				if left := tt.limit - tt.want; tt.limit > 0 && lr.N != left {
					t.Errorf("%+v: LimitedReader: got a rest of %d, want %d", tt, lr.N, left)
				}
				if pos, _ := f.Seek(0, io.SeekCurrent); pos != tt.offset+tt.want {
					t.Errorf("%+v: got position %d of the file, want the end of the part", tt, pos)
				}
				if s := dst.Stats(); s.BytesWritten != uint64(tt.want) {
					t.Errorf("%+v: got %+v, want the bytes counted", tt, s)
				}
				dst.Close()
				if r := await(t, "the peer", got); r.n != tt.want || r.err != nil {
					t.Errorf("%+v: peer got %d, %v, want the part", tt, r.n, r.err)
				}
			}
		})
	}
}

// Parts of one file are sent one after another, as for range requests.
func TestFileRanges(t *testing.T) {
	const size = 500_000
	f := fileOf(t, size)
	eachKind(t, func(t *testing.T, k kind) {
		dst, out := k.pair(t, transport.TCP{})
		for _, r := range [][2]int64{{0, 10}, {300_000, 150_000}, {10, 299_990}} {
			got := async(func() (int64, error) { return io.CopyN(&checker{off: r[0]}, out, r[1]) })
			f.Seek(r[0], io.SeekStart)
			if n, err := io.CopyN(dst, f, r[1]); n != r[1] || err != nil {
				t.Errorf("range %v: got %d, %v, want the range", r, n, err)
			}
			if r := await(t, "the peer", got); r.err != nil {
				t.Error(r.err)
			}
		}
	})
}

func TestReadFromClosedFileAndPipe(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		dst, out := k.pair(t, transport.TCP{})
		f := fileOf(t, 10)
		f.Close()
		if n, err := dst.ReadFrom(f); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed file: got %d, %v, want an error", n, err)
		}
		// A pipe is an *os.File without a length.
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		go func() {
			io.Copy(struct{ io.Writer }{w}, &stream{n: 100_000})
			w.Close()
		}()
		got := async(func() (int64, error) { return io.CopyN(new(checker), out, 100_000) })
		if n, err := dst.ReadFrom(r); n != 100_000 || err != nil {
			t.Errorf("pipe: got %d, %v, want its data", n, err)
		}
		if r := await(t, "the peer", got); r.err != nil {
			t.Error(r.err)
		}
		exchange(t, dst, out)
	})
}

func TestEcho(t *testing.T) {
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "unix+tls", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int64{1, 64 << 10, 5 << 20} {
				srv, cli := pairOf(t, name)
				echo := async(func() (int64, error) { return io.Copy(srv, srv) })
				got := async(func() (int64, error) { return io.CopyN(new(checker), cli, size) })
				if _, err := io.Copy(cli, &stream{n: size}); err != nil {
					t.Fatal(err)
				}
				if r := await(t, "the client", got); r.n != size || r.err != nil {
					t.Errorf("%d bytes: got %d, %v, want all returned", size, r.n, r.err)
				}
				cli.Close()
				r := await(t, "the echo", echo)
				if r.n != size || r.err != nil {
					t.Errorf("%d bytes: echo: got %d, %v, want all", size, r.n, r.err)
				}
				if s := srv.Stats(); s.BytesRead != uint64(size) || s.BytesWritten != uint64(size) {
					t.Errorf("%d bytes: got %+v, want them counted", size, s)
				}
			}
		})
	}
}

// failingWriter accepts quota bytes, and then returns a short write with or without an error.
type failingWriter struct {
	checker
	quota int
	err   error
}

func (q *failingWriter) Write(p []byte) (int, error) {
	if len(p) <= q.quota {
		q.quota -= len(p)
		return q.checker.Write(p)
	}
	n, err := q.checker.Write(p[:q.quota])
	q.quota = 0
	if err == nil {
		err = q.err
	}
	return n, err
}

// If the writer fails, WriteTo returns the number of bytes that it accepted. The data passed to the
// failed Write counts as read; the next read continues after it. No other data is lost, over TLS
// too.
func TestWriterFails(t *testing.T) {
	errQuit := errors.New("enough")
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "unix+tls", "pipe"} {
		t.Run(name, func(t *testing.T) {
			for _, tt := range []struct {
				quota int
				err   error
				want  error
			}{
				{0, errQuit, errQuit},
				{1, errQuit, errQuit},
				{1000, errQuit, errQuit},
				{100_000, errQuit, errQuit},
				{0, nil, io.ErrShortWrite},
				{100_001, nil, io.ErrShortWrite},
			} {
				const size = 300_000
				srv, cli := pairOf(t, name)
				sent := async(func() (int64, error) {
					n, err := io.Copy(cli, &stream{n: size})
					if c, ok := cli.(interface{ CloseWrite() error }); ok {
						c.CloseWrite()
					} else {
						cli.Close()
					}
					return n, err
				})
				n, err := srv.WriteTo(&failingWriter{quota: tt.quota, err: tt.err})
				if n != int64(tt.quota) || err != tt.want {
					t.Errorf("%+v: got %d, %v, want the quota and the error of the writer", tt, n, err)
				}
				read := int64(srv.Stats().BytesRead)
				if read <= n || read > n+64<<10 {
					t.Errorf("%+v: writer got %d bytes, want at most the %d that were read", tt, n, read)
				}
				// All ways of reading continue at that position.
				rest := &checker{off: read}
				p := make([]byte, 10)
				if m, err := io.ReadFull(srv, p); err != nil {
					t.Fatalf("%+v: Read: got %d, %v, want data", tt, m, err)
				}
				if _, err := rest.Write(p); err != nil {
					t.Errorf("%+v: Read: got other data, want that at position %d: %v", tt, read, err)
				}
				if _, err := srv.WriteTo(rest); err != nil || rest.off != size {
					t.Errorf("%+v: WriteTo: got position %d, want %d: %v", tt, rest.off, size, err)
				}
				await(t, "the sender", sent)
			}
		})
	}
}

// A limited copy consumes exactly the limit; the next read returns the data after it.
func TestLimitedCopyIsExact(t *testing.T) {
	const size = 2 << 20
	for _, name := range []string{"tcp", "unix", "tls1.3", "tls1.2", "pipe"} {
		t.Run(name, func(t *testing.T) {
			src, in := pairOf(t, name)
			dst, out := pairOf(t, "tcp")
			sent := async(func() (int64, error) { return io.Copy(in, &stream{n: size}) })
			got := async(func() (int64, error) { return io.Copy(new(checker), struct{ io.Reader }{out}) })
			total := int64(0)
			for i := 0; total < size; i++ {
				want := min([]int64{1, 2, 100, 64 << 10, 64<<10 + 1, 300_000, 700_000}[i%7], size-total)
				lr := &io.LimitedReader{R: src, N: want}
				n, err := dst.ReadFrom(lr)
				if n != want || err != nil || lr.N != 0 {
					t.Fatalf("%d bytes: got %d, %v, rest %d, want all", want, n, err, lr.N)
				}
				if total += n; src.Stats().BytesRead != uint64(total) {
					t.Fatalf("copied %d bytes, got %d counted as read, want the same", total, src.Stats().BytesRead)
				}
				if total < size { // one byte is read by Read
					p := make([]byte, 1)
					if _, err := src.Read(p); err != nil {
						t.Fatal(err)
					}
					if _, err := dst.Write(p); err != nil {
						t.Fatal(err)
					}
					total++
				}
			}
			await(t, "the sender", sent)
			dst.Close()
			if r := await(t, "the receiver", got); r.n != size || r.err != nil {
				t.Errorf("got %d bytes, want %d: %v", r.n, size, r.err)
			}
		})
	}
}

// If the peer closes the destination, the source stays usable: data that was not read can be read.
func TestDestinationClosedByPeer(t *testing.T) {
	for _, from := range []string{"tcp", "tls1.3", "unix"} {
		for _, to := range []string{"tcp", "tls1.3", "unix"} {
			t.Run(fmt.Sprint(from, " to ", to), func(t *testing.T) {
				src, in := pairOf(t, from)
				dst, out := pairOf(t, to)
				stop := make(chan struct{})
				sent := async(func() (int64, error) {
					var n int64
					for p := make([]byte, 32<<10); ; {
						select {
						case <-stop:
							closeWrite(t, in)
							return n, nil
						default:
						}
						m, err := in.Write(p)
						n += int64(m)
						if err != nil {
							return n, err
						}
					}
				})
				copying := async(func() (int64, error) { return src.WriteTo(dst) })
				waitFor(t, "bulk is under way", func() bool { return src.Stats().BytesRead > 1<<20 || dst.Stats().BytesWritten > 100_000 })
				dst.Abort()
				if r := await(t, "WriteTo", copying); r.err == nil {
					t.Error("got no error, want one")
				}
				out.Close()
				close(stop)
				if _, err := src.WriteTo(io.Discard); err != nil {
					t.Errorf("read of the source: got %v, want no error", err)
				}
				await(t, "the sender", sent)
				exchangeOneWay(t, src, in)
			})
		}
	}
}

func exchangeOneWay(tb testing.TB, from, to net.Conn) {
	tb.Helper()
	sent := asyncWrite(from, []byte("ping"))
	p := make([]byte, 4)
	if _, err := io.ReadFull(to, p); err != nil || string(p) != "ping" {
		tb.Errorf("got %q, %v, want the data sent", p, err)
	}
	await(tb, "Write", sent)
}
