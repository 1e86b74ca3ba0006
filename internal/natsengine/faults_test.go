//go:build !noengine

package natsengine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"goranch/internal/clustertest"
)

// testCA signs certificates of nodes.
type testCA struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	ca := &testCA{dir: t.TempDir()}
	ca.cert, ca.key = ca.sign(t, "ca", time.Hour)
	return ca
}

// sign writes NAME.pem and NAME.key.
func (ca *testCA) sign(t *testing.T, name string, valid time.Duration) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(valid), IsCA: ca.cert == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: b}} {
		if err := os.WriteFile(filepath.Join(ca.dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// options sets the TLS of a node.
func (ca *testCA) options(t *testing.T, o Options, name string) Options {
	t.Helper()
	var err error
	o.TLS, err = TLS(filepath.Join(ca.dir, name+".pem"), filepath.Join(ca.dir, name+".key"), filepath.Join(ca.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Nodes that do not fit together stay degraded, and the reason says why.
func TestNodesThatDoNotFit(t *testing.T) {
	ca := newTestCA(t)
	for _, name := range []string{"a", "b"} {
		ca.sign(t, name, time.Hour)
	}
	ca.sign(t, "expired", -time.Hour)
	for _, c := range []struct {
		name, want string
		set        func(a, b *Options)
	}{
		{"wrong secret", "Authorization", func(a, b *Options) { a.Secret, b.Secret = "correct horse battery", "wrong horse battery" }},
		{"the same name", "duplicate name", func(a, b *Options) { b.Name = a.Name }},
		{"unknown peer", "connection refused", func(a, b *Options) { b.Listen = clustertest.FreeAddresses(t, 1)[0]; b.Peers = a.Peers[:1] }},
		{"expired certificate", "expired", func(a, b *Options) { *a, *b = ca.options(t, *a, "a"), ca.options(t, *b, "expired") }},
		{"TLS and no TLS", "TLS", func(a, b *Options) { *a = ca.options(t, *a, "a") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			peers := clustertest.FreeAddresses(t, 2)
			a := Options{Name: "a", Listen: peers[0], Peers: peers}
			b := Options{Name: "b", Listen: peers[1], Peers: peers}
			c.set(&a, &b)
			first, log := start(t, a)
			if c.name == "unknown peer" {
				waitUntil(t, first, log, c.want)
				return
			}
			start(t, b)
			waitUntil(t, first, log, c.want)
			for _, secret := range []string{a.Secret, secretOf(a.Secret), secretOf(b.Secret)} {
				if secret != "" && strings.Contains(log.String(), secret) {
					t.Errorf("log: got the secret, want none:\n%s", log)
				}
			}
		})
	}
}

// Nodes with certificates of one CA form a cluster.
func TestTLS(t *testing.T) {
	ca := newTestCA(t)
	peers := clustertest.FreeAddresses(t, 2)
	var e *Engine
	var log *logBuffer
	for i, name := range []string{"a", "b"} {
		ca.sign(t, name, time.Hour)
		e, log = start(t, ca.options(t, Options{Name: name, Listen: peers[i], Peers: peers}, name))
	}
	waitUntil(t, e, log, "")
}

// startElsewhere starts a NATS server for clients.
func startElsewhere(t *testing.T, o server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoLog, o.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server has not started")
	}
	return s.ClientURL()
}

func TestElsewhere(t *testing.T) {
	for _, c := range []struct {
		name, want string
		o          server.Options
	}{
		{"ready", "", server.Options{JetStream: true}},
		{"without JetStream", "has no JetStream", server.Options{}},
		{"wrong credentials", "Authorization", server.Options{JetStream: true, Username: "u", Password: "p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.o.JetStream {
				c.o.StoreDir = t.TempDir()
			}
			e, log := start(t, Options{Name: "a", URLs: []string{startElsewhere(t, c.o)}})
			if c.want != "" {
				waitUntil(t, e, log, c.want)
			} else {
				waitUntil(t, e, log, "")
			}
			if e.Embedded() || e.Nodes() != 0 {
				t.Errorf("got embedded %v and %d nodes, want false and 0", e.Embedded(), e.Nodes())
			}
		})
	}
	e, log := start(t, Options{Name: "a", URLs: []string{"nats://" + clustertest.FreeAddresses(t, 1)[0]}})
	waitUntil(t, e, log, "connection refused")
}

// TestLogLimit checks that lines are limited, escaped and without the secret.
func TestLogLimit(t *testing.T) {
	var b logBuffer
	l := newServerLog(slogText(&b), "topsecret")
	for range 100 {
		l.Errorf("bad \x1b[31m%s", "topsecret")
	}
	l.flush()
	l.Errorf("Error trying to connect to route: a consequence")
	got := b.String()
	if n := strings.Count(got, "bad"); n < logLines || n > logLines+5 || strings.Contains(got, "\x1b") || strings.Contains(got, "topsecret") {
		t.Errorf("log: got %d lines, want about %d, without escapes and the secret:\n%.600s", n, logLines, got)
	}
	if !strings.Contains(got, "lines were left out") || !strings.Contains(l.lastError(), "[secret]") {
		t.Errorf("log: got %q and last error %q, want the number of lines left out, and [secret]", got[len(got)-100:], l.lastError())
	}
}
