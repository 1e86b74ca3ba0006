package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// testTimeout limits the time that a test waits for a condition. Only failing tests wait that long.
const testTimeout = 10 * time.Second

// kind is one way to make a connection. Tests of behaviour that all kinds share run for each of
// them.
type kind struct {
	name string
	addr func(testing.TB) string
	make func(transport.TCP) transport.Transport
	tls  uint16 // the version; 0: no TLS
}

var kinds = []kind{
	{name: "tcp", addr: anyPort, make: plainOf},
	{name: "unix", addr: socketPath, make: plainOf},
	{name: "tls1.3", addr: anyPort, make: tlsOf(tls.VersionTLS13), tls: tls.VersionTLS13},
	{name: "tls1.2", addr: anyPort, make: tlsOf(tls.VersionTLS12), tls: tls.VersionTLS12},
	{name: "unix+tls", addr: socketPath, make: tlsOf(tls.VersionTLS13), tls: tls.VersionTLS13},
}

func kindNamed(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	panic("no kind " + name)
}

func eachKind(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

// pair returns both ends of a new connection: the server's Conn and the client's net.Conn. Both are
// closed at the end of the test.
func (k kind) pair(tb testing.TB, opts transport.TCP) (*transport.Conn, net.Conn) {
	tb.Helper()
	return connect(tb, k.make(opts), k.addr(tb))
}

func plainOf(opts transport.TCP) transport.Transport { return opts }

func tlsOf(version uint16) func(transport.TCP) transport.Transport {
	return func(opts transport.TCP) transport.Transport {
		c := testTLS()
		c.MinVersion, c.MaxVersion = version, version
		return transport.TLS{Config: c, TCP: opts}
	}
}

func anyPort(testing.TB) string { return "127.0.0.1:0" }

// socketPath is short enough for a Unix socket; the directories of package testing are too long on
// some systems.
func socketPath(tb testing.TB) string { return "unix:" + filepath.Join(shortDir(tb), "s") }

func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "tr")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func listen(tb testing.TB, t transport.Transport, addr string) net.Listener {
	tb.Helper()
	ln, err := t.Listen(tb.Context(), addr)
	if err != nil {
		tb.Fatalf("Listen(%q): got %v, want no error", addr, err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}

// connect listens, dials, accepts and runs both handshakes.
func connect(tb testing.TB, t transport.Transport, addr string) (*transport.Conn, net.Conn) {
	tb.Helper()
	ln := listen(tb, t, addr)
	defer ln.Close()
	return connectTo(tb, t, ln)
}

func connectTo(tb testing.TB, t transport.Transport, ln net.Listener) (*transport.Conn, net.Conn) {
	tb.Helper()
	// tb.Context ends before the cleanup functions run, as does the goroutine that a TLS client's
	// handshake may leave.
	ctx, cancel := context.WithTimeout(tb.Context(), testTimeout)
	defer cancel()
	type dialled struct {
		nc  net.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		nc, err := t.Dial(ctx, listenaddr.String(ln.Addr()))
		done <- dialled{nc, err}
	}()
	srv := accept(tb, t, ln)
	if err := srv.Handshake(ctx); err != nil {
		tb.Fatalf("handshake of the server: got %v, want no error", err)
	}
	d := <-done
	if d.err != nil {
		tb.Fatalf("Dial: got %v, want no error", d.err)
	}
	tb.Cleanup(func() { d.nc.Close() })
	d.nc.SetReadDeadline(time.Now().Add(3 * testTimeout)) // limits a test that fails
	return srv, d.nc
}

// accept returns the next connection, before its handshake.
func accept(tb testing.TB, t transport.Transport, ln net.Listener) *transport.Conn {
	tb.Helper()
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(testTimeout)) // limits a test whose client fails to dial
		defer d.SetDeadline(time.Time{})
	}
	nc, err := ln.Accept()
	if err != nil {
		tb.Fatalf("Accept: got %v, want no error", err)
	}
	c := transport.NewConn(t, nc)
	tb.Cleanup(c.Abort) // Close would send close_notify to a peer that may not read
	return c
}

// pipe returns a Conn over net.Pipe, which is a connection without a socket.
func pipe(tb testing.TB, opts transport.TCP) (*transport.Conn, net.Conn) {
	a, b := net.Pipe()
	c := transport.NewConn(opts, a)
	b.SetReadDeadline(time.Now().Add(3 * testTimeout))
	tb.Cleanup(func() { c.Abort(); b.Close() })
	return c, b
}

// testTLS returns a configuration for both ends, with a certificate for localhost.
func testTLS() *tls.Config {
	cert, pool := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost"}
}

var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost"},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:             time.Unix(0, 0), // the clock of synctest starts in the year 2000
		NotAfter:              time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
})

// waitFor waits until cond returns true.
func waitFor(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(testTimeout); !cond(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("timeout after %v while waiting for %s", testTimeout, what)
		}
	}
}

// waitBlocked waits until n goroutines are blocked inside the function fn, such as
// "transport.(*Conn).Read(".
func waitBlocked(tb testing.TB, n int, fn string) {
	tb.Helper()
	waitFor(tb, "goroutines parked in "+fn, func() bool { return countBlocked(fn) >= n })
}

// waitBlockedOrDone is waitBlocked for a call that a time limit may end before it is seen to wait.
func waitBlockedOrDone(tb testing.TB, n int, fn string, done <-chan result) {
	tb.Helper()
	waitFor(tb, "goroutines parked in "+fn, func() bool { return countBlocked(fn) >= n || len(done) > 0 })
}

func countBlocked(fn string) (n int) {
	buf := make([]byte, 256<<10)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		head, stack, _ := strings.Cut(g, "\n")
		waits := strings.Contains(head, "[IO wait") || strings.Contains(head, "[select") || strings.Contains(head, "[sync.") || strings.Contains(head, "[semacquire")
		if waits && strings.Contains(stack, fn) {
			n++
		}
	}
	return n
}

// result is the result of a call in another goroutine.
type result struct {
	n   int64
	err error
}

// async calls f in a new goroutine.
func async(f func() (int64, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := f()
		done <- result{n, err}
	}()
	return done
}

func asyncRead(c io.Reader, p []byte) <-chan result {
	return async(func() (int64, error) { n, err := c.Read(p); return int64(n), err })
}

func asyncWrite(c io.Writer, p []byte) <-chan result {
	return async(func() (int64, error) { n, err := c.Write(p); return int64(n), err })
}

// await returns the result of a call that must end without further action.
func await(tb testing.TB, what string, done <-chan result) result {
	tb.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(testTimeout):
		buf := make([]byte, 1<<20)
		tb.Fatalf("%s did not return within %v\n%s", what, testTimeout, buf[:runtime.Stack(buf, true)])
		return result{}
	}
}

// inTime calls try with a limit, and again with twice the limit if it reports false: a step of the
// test that has to be done within the limit was late, as happens on a busy machine.
func inTime(tb testing.TB, limit time.Duration, try func(limit time.Duration) bool) {
	tb.Helper()
	for ; !try(limit); limit *= 2 {
		if limit > testTimeout {
			tb.Fatalf("got no success within %v, want one", limit)
		}
	}
}

// fill writes the test data for positions from off on: the byte at each position is known, so that
// a reader can tell which part has arrived. It repeats after a prime number of bytes, which is not
// the size of any buffer.
func fill(p []byte, off int64) []byte {
	for n := 0; n < len(p); {
		n += copy(p[n:], known[(off+int64(n))%int64(len(known)):])
	}
	return p
}

var known = func() []byte {
	p := make([]byte, 1_000_003)
	mrand.NewChaCha8([32]byte{}).Read(p)
	return p
}()

// stream reads the first n bytes of the test data.
type stream struct{ off, n int64 }

func (s *stream) Read(p []byte) (int, error) {
	if s.off == s.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.n-s.off)]
	fill(p, s.off)
	s.off += int64(len(p))
	return len(p), nil
}

// checker is a writer that accepts only the test data.
type checker struct{ off int64 }

var errWrongByte = errors.New("the stream is not what was sent")

func (c *checker) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		want := known[(c.off+int64(n))%int64(len(known)):]
		want = want[:min(len(want), len(p)-n)]
		if !bytes.Equal(want, p[n:n+len(want)]) {
			return 0, errWrongByte
		}
		n += len(want)
	}
	c.off += int64(len(p))
	return len(p), nil
}

func wantIs(tb testing.TB, err, target error) {
	tb.Helper()
	if !errors.Is(err, target) {
		tb.Errorf("got error %v, want %v", err, target)
	}
}

// tcpOf returns the TCP socket below a connection.
func tcpOf(tb testing.TB, nc net.Conn) *net.TCPConn {
	tb.Helper()
	for {
		if tc, ok := nc.(*net.TCPConn); ok {
			return tc
		}
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			tb.Fatalf("got a %T, want one with a TCP socket", nc)
		}
		nc = w.NetConn()
	}
}

// abstractName returns an unused address of an abstract Unix socket.
func abstractName() string {
	return fmt.Sprintf("unix:@goranch-test-%d-%d", os.Getpid(), abstractNames.Add(1))
}

var abstractNames atomic.Int64

// bulk is more data than a socket takes while the peer does not read.
var bulk = make([]byte, 8<<20)

// fillSocket writes to a socket until it takes nothing more, and returns the number of bytes. The
// peer does not read.
func fillSocket(tb testing.TB, nc net.Conn) (total int64) {
	tb.Helper()
	for idle := 0; idle < 3; {
		nc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := nc.Write(bulk)
		total += int64(n)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			tb.Fatalf("after %d bytes: got %v, want ErrDeadlineExceeded", n, err)
		}
		if idle++; n > 0 {
			idle = 0
		}
	}
	nc.SetWriteDeadline(time.Time{})
	return total
}

// exchange checks that the two ends are connected to each other.
func exchange(tb testing.TB, a, b net.Conn) {
	tb.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		sent := asyncWrite(ends[0], []byte("ping"))
		p := make([]byte, 4)
		got := await(tb, "Read", asyncRead(ends[1], p))
		await(tb, "Write", sent)
		if got.err != nil || string(p) != "ping" {
			tb.Fatalf("exchange: got %q, %v, want the data sent", p[:got.n], got.err)
		}
	}
}

// lines is the output of a program so far.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	read int // the length that await has consumed
	done chan struct{}
}

func newLines(r io.Reader) *lines {
	l := &lines{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		p := make([]byte, 4096)
		for {
			n, err := r.Read(p)
			l.mu.Lock()
			l.buf.Write(p[:n])
			l.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until the output after the last call contains text.
func (l *lines) await(tb testing.TB, text string) {
	tb.Helper()
	waitFor(tb, fmt.Sprintf("output of %q", text), func() bool {
		all := l.all()
		i := strings.Index(all[l.read:], text)
		if i < 0 {
			return false
		}
		l.read += i + len(text)
		return true
	})
}

// drained waits until the program has ended.
func (l *lines) drained(tb testing.TB, cmd *exec.Cmd) error {
	tb.Helper()
	select {
	case <-l.done:
	case <-time.After(testTimeout):
		cmd.Process.Kill()
		<-l.done
	}
	return cmd.Wait()
}
