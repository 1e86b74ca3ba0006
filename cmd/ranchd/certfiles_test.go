package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/transport"
)

// pair is a self-signed certificate in files.
type pair struct {
	cert, key string
	x509      *x509.Certificate
	tls       tls.Certificate
}

// newPair writes a certificate for that name and its key to dir, replacing existing files.
func newPair(t *testing.T, dir, name string) pair {
	t.Helper()
	return newPairUntil(t, dir, name, time.Now().Add(time.Hour))
}

// newPairUntil is newPair for a certificate that expires at a time.
func newPairUntil(t *testing.T, dir, name string, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"), leaf, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	p.write(t, p.cert, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.write(t, p.key, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return p
}

func (p pair) write(t *testing.T, file string, b *pem.Block) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p pair) fingerprint() string { return fingerprint(p.tls) }

// client returns a client transport that asks for the host name and accepts only p.
func (p pair) client(host string, own ...tls.Certificate) transport.TLS {
	roots := x509.NewCertPool()
	roots.AddCert(p.x509)
	return transport.TLS{Config: &tls.Config{RootCAs: roots, ServerName: host, Certificates: own}}
}

func TestCertificatesByHostName(t *testing.T) {
	dir := t.TempDir()
	a, b := newPair(t, dir, "a.test"), newPair(t, dir, "b.test")
	files := []string{"--listen", "tls://127.0.0.1:0", "--cert", a.cert, "--key", a.key, "--cert", b.cert, "--key", b.key}
	p := startProgram(t, files...)
	addr := p.log.addr(t, "echo-tls")
	checkEcho(t, dial(t, a.client("a.test"), addr))
	nc := dial(t, b.client("b.test"), addr)
	checkEcho(t, nc)
	nc.Close()
	p.log.event(t, "TLS connection ended", map[string]any{"sni": "b.test", "version": "TLS 1.3"})
	unknown := tlsByFingerprint(t, a.fingerprint()) // gets the first certificate
	unknown.Config.ServerName = "c.test"
	checkEcho(t, dial(t, unknown, addr))

	p = startProgram(t, append(files, "--sni-unknown", "refuse")...)
	addr = p.log.addr(t, "echo-tls")
	checkEcho(t, dial(t, b.client("b.test"), addr))
	if nc, err := unknown.Dial(t.Context(), addr); err == nil {
		nc.Close()
		t.Error("unknown server name: got a connection, want an error")
	}
	p.log.event(t, "connection ended", map[string]any{"reason": "handshake failed"})
}

func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	site, alice, mallory := newPair(t, dir, "site.test"), newPair(t, dir, "alice"), newPair(t, dir, "mallory")
	p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--cert", site.cert, "--key", site.key, "--client-ca", alice.cert)
	addr := p.log.addr(t, "echo-tls")
	nc := dial(t, site.client("site.test", alice.tls), addr)
	checkEcho(t, nc)
	nc.Close()
	p.log.event(t, "TLS connection ended", map[string]any{"client": "CN=alice", "client_sha256": alice.fingerprint()})
	for name, tr := range map[string]transport.TLS{"none": site.client("site.test"), "of another CA": site.client("site.test", mallory.tls)} {
		if nc, err := tr.Dial(t.Context(), addr); err == nil { // with TLS 1.3 the first read fails
			nc.SetReadDeadline(time.Now().Add(timeout))
			if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				t.Errorf("client certificate %s: got %v, want the end of the connection", name, err)
			}
			nc.Close()
		}
	}
}

// Changed files are reloaded, and invalid files are reported.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	old := newPair(t, dir, "a.test")
	p := startProgram(t, "--listen", "tls://127.0.0.1:0", "--cert", old.cert, "--key", old.key, "--reload-interval", "10ms")
	addr := p.log.addr(t, "echo-tls")
	before := dial(t, old.client("a.test"), addr)
	checkEcho(t, before)

	key, err := os.ReadFile(old.key)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(old.key, []byte("invalid"), 0o600)
	e := p.log.event(t, "certificate files are invalid; the previous certificates stay in use", nil)
	if err, _ := e["err"].(string); !strings.Contains(err, `--key "`+old.key+`"`) {
		t.Errorf("got %v, want flag and file in the error", e)
	}
	checkEcho(t, dial(t, old.client("a.test"), addr))
	os.WriteFile(old.key, key, 0o600)
	p.log.event(t, "certificate files reloaded", nil)

	next := newPair(t, dir, "a.test")
	p.log.event(t, "new certificate in use", map[string]any{"names": "a.test", "sha256": next.fingerprint()})
	checkEcho(t, dial(t, next.client("a.test"), addr))
	checkEcho(t, before)
	p.stop()
	p.wantExit(t, exitOK)
	if _, err := io.ReadAll(before); err != nil {
		t.Error(err)
	}
}

// SIGHUP, which the end of a terminal sends, stops a server without certificate files.
func TestHangUp(t *testing.T) {
	if !requestsReload(syscall.SIGHUP) {
		t.Skip("SKIPPED: this system has no SIGHUP; run the test on Unix")
	}
	p := startProgram(t, "--listen", "127.0.0.1:0")
	p.signals <- syscall.SIGHUP
	p.wantExit(t, exitOK)
}
