package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"goranch/transport"
	"goranch/transport/certs"
)

// testTimeout limits the time that a test waits for a condition.
const testTimeout = 20 * time.Second

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(tb testing.TB, name string) *authority {
	a := new(authority)
	a.cert, a.key = issue(tb, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.pem = certPEM(a.cert)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue returns a certificate signed by the authority, or a self-signed one if that is nil.
func issue(tb testing.TB, by *authority, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatal(err)
	}
	tmpl.NotBefore = time.Now().Add(-time.Hour)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if by == nil {
		by = &authority{cert: tmpl, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert, key
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func keyPEM(tb testing.TB, k *ecdsa.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// server returns a new server certificate and its key, as PEM.
func (a *authority) server(tb testing.TB, names ...string) (cert, key string) {
	c, k := issue(tb, a, &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, DNSNames: names})
	return certPEM(c), keyPEM(tb, k)
}

// client returns a new client certificate.
func (a *authority) client(tb testing.TB, name string) tls.Certificate {
	c, k := issue(tb, a, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k, Leaf: c}
}

// dir is a directory for the files of a test.
type dir struct {
	tb   testing.TB
	path string
}

func newDir(tb testing.TB) dir { return dir{tb, tb.TempDir()} }

func (d dir) file(name string) string { return filepath.Join(d.path, name) }

func (d dir) write(name, content string) string {
	d.tb.Helper()
	if err := os.WriteFile(d.file(name), []byte(content), 0o600); err != nil {
		d.tb.Fatal(err)
	}
	return d.file(name)
}

// pair writes a new certificate for names to name.crt and name.key.
func (d dir) pair(a *authority, name string, names ...string) certs.Pair {
	cert, key := a.server(d.tb, names...)
	return certs.Pair{Cert: d.write(name+".crt", cert), Key: d.write(name+".key", key)}
}

func open(tb testing.TB, o certs.Options) *certs.Store {
	tb.Helper()
	s, err := certs.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func reload(tb testing.TB, s *certs.Store) {
	tb.Helper()
	if changed, err := s.Reload(); !changed || err != nil {
		tb.Fatalf("Reload: got %v, %v, want true and no error", changed, err)
	}
}

// server is an echo server over TLS that records the results of handshakes.
type server struct {
	addr       string
	handshakes chan handshakeResult
}

type handshakeResult struct {
	conn *transport.Conn
	err  error
}

func serve(tb testing.TB, c *tls.Config) *server {
	tb.Helper()
	return serveBy(tb, c, func(conn *transport.Conn) { io.Copy(conn, conn) })
}

func serveBy(tb testing.TB, c *tls.Config, protocol func(*transport.Conn)) *server {
	tb.Helper()
	tr := transport.TLS{Config: c}
	ln, err := tr.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), handshakes: make(chan handshakeResult, 5000)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn := transport.NewConn(tr, nc)
				defer conn.Close()
				ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
				defer cancel()
				err := conn.Handshake(ctx)
				s.handshakes <- handshakeResult{conn, err}
				if err == nil {
					protocol(conn)
				}
			})
		}
	})
	tb.Cleanup(func() { ln.Close(); wg.Wait() })
	return s
}

// dial runs the handshake and exchanges a byte. After that, tickets have arrived and the server has
// verified the client's certificate.
func (s *server) dial(tb testing.TB, c *tls.Config) (*tls.Conn, error) {
	tb.Helper()
	nc, err := net.DialTimeout("tcp", s.addr, testTimeout)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testTimeout))
	tc := tls.Client(nc, c)
	err = tc.Handshake()
	if err == nil {
		err = ping(tc)
	}
	return tc, err
}

func ping(c io.ReadWriter) error {
	if _, err := c.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// last returns the result of the oldest handshake that was not returned yet.
func (s *server) last(tb testing.TB) handshakeResult {
	tb.Helper()
	select {
	case r := <-s.handshakes:
		return r
	case <-time.After(testTimeout):
		tb.Fatal("got no handshake, want one")
		return handshakeResult{}
	}
}

// mustDial expects a successful handshake, and returns both ends.
func (s *server) mustDial(tb testing.TB, c *tls.Config) (*tls.Conn, *transport.Conn) {
	tb.Helper()
	tc, err := s.dial(tb, c)
	r := s.last(tb)
	if err != nil || r.err != nil {
		tb.Fatalf("handshake: got %v for the client and %v for the server, want no errors", err, r.err)
	}
	return tc, r.conn
}

// identity returns the identity of the client.
func identity(c *transport.Conn) *transport.Identity {
	state, _ := c.TLS()
	return transport.IdentityOf(state)
}

// mustFail expects a handshake that the server ends with an error that wraps all targets.
func (s *server) mustFail(tb testing.TB, c *tls.Config, targets ...error) error {
	tb.Helper()
	_, err := s.dial(tb, c)
	r := s.last(tb)
	if err == nil || r.err == nil {
		tb.Fatalf("handshake: got %v for the client and %v for the server, want errors", err, r.err)
	}
	for _, target := range targets {
		if !errors.Is(r.err, target) {
			tb.Errorf("got server error %q, want one that wraps %q", r.err, target)
		}
	}
	return err
}

// sessions stores one session for all hosts.
type sessions struct{ state *tls.ClientSessionState }

func (s *sessions) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }
func (s *sessions) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		s.state = state
	}
}

// versions runs a test for each version of TLS.
func versions(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) { f(t, v) })
	}
}

func shortLived() *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: "soon"}, NotAfter: time.Now().Add(time.Minute), IsCA: true, BasicConstraintsValid: true}
}

// fileSum returns the fingerprint of the first certificate in a PEM file.
func fileSum(content string) string {
	block, _ := pem.Decode([]byte(content))
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}
