package ranch_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// medium is one way for bytes to travel. The conformance suite runs over each: what a
// listener promises must not depend on its transport.
type testTransport struct {
	name string
	t    transport.Transport     // of the server and of its clients
	addr func(testing.TB) string // a free place to listen
}

// media is all of them. Another transport is one line more.
func testTransports() []testTransport {
	return []testTransport{
		{"tcp", transport.TCP{}, loopbackAddr},
		{"tls", transport.TLS{Config: testTLSConfig()}, loopbackAddr},
		{"unix", transport.TCP{}, unixAddr},
		{"tls over unix", transport.TLS{Config: testTLSConfig()}, unixAddr},
		{"mem", new(transport.Mem), memAddr},
	}
}

// overEach runs a test over every medium.
func forEachTransport(t *testing.T, f func(*testing.T, testTransport)) {
	for _, m := range testTransports() {
		t.Run(m.name, func(t *testing.T) { f(t, m) })
	}
}

// start starts a listener on a free place.
func (m testTransport) startListener(t testing.TB, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder) {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = m.addr(t)
	}
	return startListener(t, m.t, opts, p)
}

func (m testTransport) newClient(t testing.TB, l *ranch.Listener) *client {
	return newClient(t, m.t, dialAddr(l))
}

func (m testTransport) servedClients(t testing.TB, l *ranch.Listener, n int) []*client {
	t.Helper()
	return servedClients(t, m.t, dialAddr(l), n)
}

// host is a loopback address of this process alone, where there is more than one: a test
// that comes back to a port finds it free, whatever else runs on this machine.
var loopbackHost = func() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>14&0x7f, pid>>7&0x7f, 1+pid&0x7f)
}()

// below is the transport below TLS, for clients that do not behave.
func (m testTransport) plain() transport.Transport {
	if t, ok := m.t.(transport.TLS); ok {
		return t.TCP
	}
	return m.t
}

// many is n, or a part of it where handshakes take their time.
func (m testTransport) scale(n int) int {
	if m.t.Secure() {
		return n / 4
	}
	return n
}

func loopbackAddr(testing.TB) string { return loopbackHost + ":0" }

func memAddr(testing.TB) string { return ":0" }

// socketFile does without t.TempDir, whose paths contain the test's name: a Unix
// socket's path has 107 bytes at most.
func unixAddr(t testing.TB) string {
	dir, err := os.MkdirTemp("", "ranch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "s")
}

// bothSides is a TLS configuration that serves as ranch.test and trusts that.
var testTLSConfig = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "ranch.test"},
		DNSNames:     []string{"ranch.test"},
		NotBefore:    time.Unix(0, 0), // bubbles live in the year 2000
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}},
		RootCAs:      roots, ServerName: "ranch.test",
		CurvePreferences: []tls.CurveID{tls.X25519}, // the cheapest
	}
})

// raw is the connection below TLS.
func raw(nc net.Conn) net.Conn {
	if tc, ok := nc.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return nc
}

// reset ends a connection without a goodbye, where there is such a thing.
func resetConn(nc net.Conn) {
	if tc, ok := nc.(interface{ SetLinger(int) error }); ok {
		tc.SetLinger(0)
	}
	nc.Close()
}

func pretty(i ranch.ListenerInfo) string { return fmt.Sprintf("%+v", i) }
