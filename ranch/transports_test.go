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

// testTransport is a transport over which tests run: the behaviour of a listener must not depend on
// its transport.
type testTransport struct {
	name string
	t    transport.Transport     // of the server and of its clients
	addr func(testing.TB) string // an address for the listener
}

func testTransports() []testTransport {
	return []testTransport{
		{"tcp", transport.TCP{}, loopbackAddr},
		{"tls", transport.TLS{Config: testTLSConfig()}, loopbackAddr},
		{"unix", transport.TCP{}, unixAddr},
		{"tls over unix", transport.TLS{Config: testTLSConfig()}, unixAddr},
		{"mem", new(transport.Mem), memAddr},
	}
}

// forEachTransport runs a test over every transport.
func forEachTransport(t *testing.T, f func(*testing.T, testTransport)) {
	for _, m := range testTransports() {
		t.Run(m.name, func(t *testing.T) { f(t, m) })
	}
	if overWebSockets[t.Name()] {
		t.Run("websocket", func(t *testing.T) { f(t, testTransport{"websocket", newWebSocketTransport(t), loopbackAddr}) })
	}
}

// startListener starts a listener on a free address.
func (m testTransport) startListener(t testing.TB, opts ranch.Options, p protocol.Protocol) (*ranch.Listener, *recorder) {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = m.addr(t)
	}
	if opts.HandshakeTimeout == 0 {
		opts.HandshakeTimeout = testTimeout // handshakes may take long on a busy machine
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

// loopbackHost is a loopback address of this process, where there are several: a port that a test
// uses again is not taken by another process in between.
var loopbackHost = func() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>14&0x7f, pid>>7&0x7f, 1+pid&0x7f)
}()

// plain is the transport below TLS.
func (m testTransport) plain() transport.Transport {
	if t, ok := m.t.(transport.TLS); ok {
		return t.TCP
	}
	return m.t
}

// scale returns n, or a quarter of it where handshakes take time.
func (m testTransport) scale(n int) int {
	if m.t.Secure() {
		return n / 4
	}
	return n
}

func loopbackAddr(testing.TB) string { return loopbackHost + ":0" }

func memAddr(testing.TB) string { return ":0" }

// unixAddr does not use t.TempDir, whose paths contain the name of the test: the path of a Unix
// socket has at most 107 bytes.
func unixAddr(t testing.TB) string {
	dir, err := os.MkdirTemp("", "ranch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "s")
}

// testTLSConfig is a configuration for servers and clients, with a certificate for ranch.test.
var testTLSConfig = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "ranch.test"},
		DNSNames:     []string{"ranch.test"},
		NotBefore:    time.Unix(0, 0), // synctest bubbles start in the year 2000
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

// raw returns the connection below TLS.
func raw(nc net.Conn) net.Conn {
	if tc, ok := nc.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return nc
}

// resetConn closes a connection with a reset, where there is such a thing.
func resetConn(nc net.Conn) {
	if tc, ok := nc.(interface{ SetLinger(int) error }); ok {
		tc.SetLinger(0)
	}
	nc.Close()
}

func pretty(i ranch.ListenerInfo) string { return fmt.Sprintf("%+v", i) }
