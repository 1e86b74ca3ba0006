package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/listenaddr"
	"goranch/transport"
	"goranch/transport/proxy"
)

// testTimeout limits the time that a test waits for a condition.
const testTimeout = 10 * time.Second

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// kind is one way to make a connection.
type kind struct {
	name string
	make func() transport.Transport
	addr func(testing.TB) string
}

var kinds = []kind{
	{"tcp", func() transport.Transport { return transport.TCP{} }, anyPort},
	{"tls", func() transport.Transport { return transport.TLS{Config: testTLS()} }, anyPort},
	{"unix", func() transport.Transport { return transport.TCP{} }, socketPath},
	{"unix+tls", func() transport.Transport { return transport.TLS{Config: testTLS()} }, socketPath},
	{"mem", func() transport.Transport { return new(transport.Mem) }, func(testing.TB) string { return "m" }},
}

// trusting accepts headers from the connections of tests.
func (k kind) trusting() proxy.Transport {
	return proxy.Transport{Inner: k.make(), Rules: []proxy.Rule{{Net: loopback}}, Local: proxy.Require}
}

func eachKind(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

func anyPort(testing.TB) string { return "127.0.0.1:0" }

func socketPath(tb testing.TB) string { return "unix:" + filepath.Join(shortDir(tb), "s") }

// shortDir returns a directory with a path that is short enough for a Unix socket.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// connect accepts a connection that dial opens, and runs the server's handshake while dial
// continues.
func connect(t *testing.T, tr transport.Transport, addr string, dial func(ctx context.Context, addr string) (net.Conn, error)) (srv *transport.Conn, client net.Conn, handshakeErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	ln, err := tr.Listen(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	type dialled struct {
		nc  net.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		nc, err := dial(ctx, listenaddr.String(ln.Addr()))
		done <- dialled{nc, err}
	}()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	srv = transport.NewConn(tr, nc)
	t.Cleanup(srv.Abort)
	if handshakeErr = srv.Handshake(ctx); handshakeErr != nil {
		srv.Abort()
	}
	d := <-done
	if d.err != nil && handshakeErr == nil {
		t.Fatalf("Dial: got %v, want no error", d.err)
	}
	if d.nc != nil && d.err == nil {
		t.Cleanup(func() { d.nc.Close() })
		d.nc.SetReadDeadline(time.Now().Add(testTimeout))
	}
	srv.SetReadDeadline(time.Now().Add(testTimeout))
	return srv, d.nc, handshakeErr
}

// The ways to send a header: in a write of its own, in one write with the data after it (TLS or the
// greeting), or byte by byte.
const (
	apart    = "apart"
	joined   = "joined"
	byteWise = "byte by byte"
)

// after returns a dialer that sends head before the first byte of the inner transport.
func after(inner transport.Transport, head []byte, how string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		var nc net.Conn
		var err error
		l, layered := engine.StepsOf(inner)
		if layered {
			nc, err = l.Connect(ctx, addr)
		} else {
			nc, err = inner.Dial(ctx, addr)
		}
		if err != nil {
			return nil, err
		}
		switch how {
		case joined:
			nc = &preface{Conn: nc, head: head}
		case byteWise:
			for i := range head {
				nc.Write(head[i : i+1])
			}
		default:
			nc.Write(head)
		}
		if layered {
			nc, err = l.Client(ctx, nc, addr)
		}
		if err == nil {
			_, err = nc.Write([]byte(greeting))
		}
		return nc, err
	}
}

// greeting is the first data of a client.
const greeting = "PROXY hello"

// preface writes head before the first data.
type preface struct {
	net.Conn
	head []byte
}

func (p *preface) Write(b []byte) (int, error) {
	n := len(p.head)
	all := append(p.head, b...)
	p.head = nil
	m, err := p.Conn.Write(all)
	return max(m-n, 0), err
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// testTLS returns a configuration for both ends, with a certificate for localhost.
func testTLS() *tls.Config {
	cert, pool := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, ServerName: "localhost"}
}

var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "player one"},
		DNSNames:              []string{"localhost"},
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

// certificateFile writes the certificate and its key into one file, as haproxy requires.
func certificateFile(t *testing.T, dir string) string {
	t.Helper()
	cert, _ := certificate()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	path := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
