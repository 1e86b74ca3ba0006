package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// selfSignedFor is how long a certificate for trying out is good: longer than anybody
// tries, too short to grow old with.
const selfSignedFor = 30 * 24 * time.Hour

// loadCertificate reads a certificate, with its chain, and its key, both PEM. It
// reports what is wrong with either file, not only with the first.
func loadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	if certErr != nil || keyErr != nil {
		return tls.Certificate{}, errors.Join(fileFault("--cert", certFile, certErr), fileFault("--key", keyFile, keyErr))
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--cert %q, --key %q: %w; a PEM file with the certificate and one with its key are needed", certFile, keyFile, err)
	}
	return c, nil
}

func fileFault(flag, file string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the path is named already
	}
	return fmt.Errorf("%s %q: %w: a readable PEM file is needed", flag, file, err)
}

// outOfDate says what clients will say of a certificate at that time; "" if nothing.
func outOfDate(c *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(c.NotBefore):
		return "the certificate is not valid yet"
	case now.After(c.NotAfter):
		return "the certificate has expired"
	}
	return ""
}

// selfSigned makes a certificate for this machine's own names. Its key exists in memory
// only, so each start has another.
func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"ranchd, for trying out only"}},
		NotBefore:             now.Add(-time.Hour), // clients' clocks differ
		NotAfter:              now.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// fingerprint returns the SHA-256 of a certificate as openssl x509 -fingerprint shows it.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	pairs := make([]string, len(sum))
	for i := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString(sum[i : i+1]))
	}
	return strings.Join(pairs, ":")
}
