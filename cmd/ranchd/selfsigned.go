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
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// selfSignedValidity is how long a self-signed certificate is valid. It is short because such a
// certificate is for testing only.
const selfSignedValidity = 30 * 24 * time.Hour

// newSelfSigned creates a certificate for localhost. Its key exists in memory only, so each start
// has a different one.
func newSelfSigned(now time.Time) (tls.Certificate, error) {
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
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"ranchd, for testing only"}},
		NotBefore:             now.Add(-time.Hour), // clocks of clients may be slow
		NotAfter:              now.Add(selfSignedValidity),
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

// fingerprint returns the SHA-256 of a certificate in the format of openssl x509 -fingerprint.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return colons(hex.EncodeToString(sum[:]))
}

// colons returns hexadecimal digits in the format of openssl: pairs separated by colons.
func colons(digits string) string {
	var pairs []string
	for pair := range slices.Chunk([]byte(strings.ToUpper(digits)), 2) {
		pairs = append(pairs, string(pair))
	}
	return strings.Join(pairs, ":")
}
