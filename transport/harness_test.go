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

// patience is how long a test waits for what must happen. Only a failing test waits
// that long.
const patience = 10 * time.Second

// kind is one way to get a connection. Tests of what holds for all of them run over
// kinds.
type kind struct {
	name string
	addr func(testing.TB) string
	make func(transport.TCP) transport.Transport
	tls  uint16 // version; 0: none
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

// pair returns both ends of a new connection: the server's as protocols hold it, the
// client's bare. Both are closed at the end of the test.
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

// socketPath is short enough for a Unix socket, which the directories of testing are not
// everywhere.
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
		tb.Fatalf("Listen(%q): %v", addr, err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}

// connect listens, dials, accepts and shakes hands.
func connect(tb testing.TB, t transport.Transport, addr string) (*transport.Conn, net.Conn) {
	tb.Helper()
	ln := listen(tb, t, addr)
	defer ln.Close()
	return connectTo(tb, t, ln)
}

func connectTo(tb testing.TB, t transport.Transport, ln net.Listener) (*transport.Conn, net.Conn) {
	tb.Helper()
	// tb.Context ends before the clean-ups run, and with it the goroutine that a TLS
	// client's handshake may leave.
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
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
		tb.Fatalf("server's handshake: %v", err)
	}
	d := <-done
	if d.err != nil {
		tb.Fatalf("Dial: %v", d.err)
	}
	tb.Cleanup(func() { d.nc.Close() })
	d.nc.SetReadDeadline(time.Now().Add(3 * patience)) // a test that fails does not hang
	return srv, d.nc
}

// accept returns the next connection, before its handshake.
func accept(tb testing.TB, t transport.Transport, ln net.Listener) *transport.Conn {
	tb.Helper()
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(patience)) // a client that fails to dial does not hang the test
		defer d.SetDeadline(time.Time{})
	}
	nc, err := ln.Accept()
	if err != nil {
		tb.Fatalf("Accept: %v", err)
	}
	c := transport.NewConn(t, nc)
	tb.Cleanup(c.Abort) // Close would say goodbye to a peer that may not listen
	return c
}

// pipe returns a Conn over net.Pipe: a connection that is no socket.
func pipe(tb testing.TB, opts transport.TCP) (*transport.Conn, net.Conn) {
	a, b := net.Pipe()
	c := transport.NewConn(opts, a)
	b.SetReadDeadline(time.Now().Add(3 * patience))
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
		NotBefore:             time.Unix(0, 0), // bubbles of synctest live in the year 2000
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

// eventually waits for a condition.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// waitBlocked waits until n goroutines are parked inside the function fn, such as
// "transport.(*Conn).Read(".
func waitBlocked(tb testing.TB, n int, fn string) {
	tb.Helper()
	eventually(tb, "goroutines parked in "+fn, func() bool { return parked(fn) >= n })
}

func parked(fn string) (n int) {
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

// result is what a call in another goroutine came back with.
type result struct {
	n   int64
	err error
}

// async runs f in a goroutine of its own.
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

// await takes a result that must come without anybody's further doing.
func await(tb testing.TB, what string, done <-chan result) result {
	tb.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		tb.Fatalf("%s did not return within %v\n%s", what, patience, buf[:runtime.Stack(buf, true)])
		return result{}
	}
}

// fill is the stream that tests send: the byte at each position is known, so that a
// reader can tell which part of it has arrived. It repeats only after a prime number of
// bytes, which no buffer has.
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

// stream reads the first n bytes of what fill writes.
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

// checker is a writer that accepts only what fill writes.
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
		tb.Errorf("error is %v, want %v", err, target)
	}
}

// tcpOf returns the TCP socket below a connection of a test.
func tcpOf(tb testing.TB, nc net.Conn) *net.TCPConn {
	tb.Helper()
	for {
		if tc, ok := nc.(*net.TCPConn); ok {
			return tc
		}
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			tb.Fatalf("%T has no TCP socket", nc)
		}
		nc = w.NetConn()
	}
}

// abstractName returns an address without a file that nobody else uses.
func abstractName() string {
	return fmt.Sprintf("unix:@goranch-test-%d-%d", os.Getpid(), abstractNames.Add(1))
}

var abstractNames atomic.Int64

// flood is more than any socket of a test takes from a writer whose peer reads nothing.
var flood = make([]byte, 8<<20)

// clog writes to a socket, whose peer reads nothing, until it takes nothing more, and
// says how much that was.
func clog(tb testing.TB, nc net.Conn) (total int64) {
	tb.Helper()
	for idle := 0; idle < 3; {
		nc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := nc.Write(flood)
		total += int64(n)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			tb.Fatalf("the socket takes %d bytes: %v", n, err)
		}
		if idle++; n > 0 {
			idle = 0
		}
	}
	nc.SetWriteDeadline(time.Time{})
	return total
}

// exchange makes sure that the two ends are connected to each other.
func exchange(tb testing.TB, a, b net.Conn) {
	tb.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		sent := asyncWrite(ends[0], []byte("ping"))
		p := make([]byte, 4)
		got := await(tb, "Read", asyncRead(ends[1], p))
		await(tb, "Write", sent)
		if got.err != nil || string(p) != "ping" {
			tb.Fatalf("exchange: %q, %v", p[:got.n], got.err)
		}
	}
}

// lines is the output of a program, as far as it has come.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	read int // what was awaited before
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

// await waits until what has been put out after the last await contains text.
func (l *lines) await(tb testing.TB, text string) {
	tb.Helper()
	eventually(tb, fmt.Sprintf("output of %q", text), func() bool {
		all := l.all()
		i := strings.Index(all[l.read:], text)
		if i < 0 {
			return false
		}
		l.read += i + len(text)
		return true
	})
}

// drained waits for the program's end.
func (l *lines) drained(tb testing.TB, cmd *exec.Cmd) error {
	tb.Helper()
	select {
	case <-l.done:
	case <-time.After(patience):
		cmd.Process.Kill()
		<-l.done
	}
	return cmd.Wait()
}
