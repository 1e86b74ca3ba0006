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
func certificateFiles(t *testing.T) (cert, key string) {
	t.Helper()
	return certificateFilesOf(t, time.Now())
}

func certificateFilesOf(t *testing.T, now time.Time) (cert, key string) {
	t.Helper()
	c, err := selfSigned(now)
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
	c, err := selfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("the key is %T, want ECDSA P-256", c.PrivateKey)
	}
	if until := c.Leaf.NotAfter.Sub(now).Round(time.Minute); until != 30*24*time.Hour {
		t.Errorf("it is good for %v", until)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "example.org", Roots: roots}); err == nil {
		t.Error("it is good for other names too")
	}
}

func TestOutOfDate(t *testing.T) {
	now := time.Now()
	c, err := selfSigned(now)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]string{
		now:                           "",
		now.Add(-2 * time.Hour):       "the certificate is not valid yet",
		now.Add(31 * 24 * time.Hour):  "the certificate has expired",
		now.Add(29 * 24 * time.Hour):  "",
		now.Add(-30 * time.Minute):    "", // a clock that is slow
		now.Add(365 * 24 * time.Hour): "the certificate has expired",
	} {
		if got := outOfDate(c.Leaf.NotBefore, c.Leaf.NotAfter, at); got != want {
			t.Errorf("at %v: %q, want %q", at.Sub(now), got, want)
		}
	}
}
