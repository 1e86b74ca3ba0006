package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificateFiles writes a certificate and its key, and returns where.
func newCertificateFiles(t *testing.T) (cert, key string) {
	t.Helper()
	return newCertificateFilesAt(t, time.Now())
}

func newCertificateFilesAt(t *testing.T, now time.Time) (cert, key string) {
	t.Helper()
	c, err := newSelfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestSelfSigned(t *testing.T) {
	now := time.Now()
	c, err := newSelfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("key: got %T, want ECDSA P-256", c.PrivateKey)
	}
	if until := c.Leaf.NotAfter.Sub(now).Round(time.Minute); until != 30*24*time.Hour {
		t.Errorf("validity: got %v, want 30 days", until)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("verify %s: got %v, want nil", name, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "example.org", Roots: roots}); err == nil {
		t.Error("verify example.org: got nil, want an error")
	}
}

func TestValidityWarning(t *testing.T) {
	now := time.Now()
	c, err := newSelfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]string{
		now:                           "",
		now.Add(-2 * time.Hour):       "certificate is not valid yet",
		now.Add(31 * 24 * time.Hour):  "certificate has expired",
		now.Add(29 * 24 * time.Hour):  "",
		now.Add(-30 * time.Minute):    "", // the clock of the client is slow
		now.Add(365 * 24 * time.Hour): "certificate has expired",
	} {
		if got := validityWarning(c.Leaf.NotBefore, c.Leaf.NotAfter, at); got != want {
			t.Errorf("after %v: got %q, want %q", at.Sub(now), got, want)
		}
	}
}
