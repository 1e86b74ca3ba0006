package certs_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"goranch/transport/certs"
)

// The errors of files that were made in a usual wrong way say what to change.
func TestMessages(t *testing.T) {
	ca := newAuthority(t, "ca")
	d := newDir(t)
	d.pair(ca, "a", "a.test")
	read := func(name string) string {
		b, err := os.ReadFile(d.file(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cert, key := read("a.crt"), read("a.key")
	block, _ := pem.Decode([]byte(key))
	legacy, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", block.Bytes, []byte("secret"), x509.PEMCipherAES256) //lint:ignore SA1019 the case is this format
	if err != nil {
		t.Fatal(err)
	}
	der, _ := pem.Decode([]byte(cert))
	for _, c := range []struct{ name, cert, key, want string }{
		{"encrypted key", cert, string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("ciphertext")})), "the key is encrypted"},
		{"encrypted key, old format", cert, string(pem.EncodeToMemory(legacy)), "the key is encrypted"},
		{"CA first", ca.pem + cert, key, "the key belongs to certificate 2 of the file"},
		{"byte order mark", "\xef\xbb\xbf" + cert, key, "byte order mark"},
		{"byte order mark in the key", cert, "\xef\xbb\xbf" + key, "key: the file begins with a byte order mark"},
		{"UTF-16", "\xff\xfe-\x00-\x00", key, "UTF-16"},
		{"DER", string(der.Bytes), key, "DER, not PEM"},
		{"empty key", cert, "", "key: the file is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.write("a.crt", c.cert)
			d.write("a.key", c.key)
			_, err := certs.Open(certs.Options{Pairs: []certs.Pair{{Cert: d.file("a.crt"), Key: d.file("a.key")}}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in the error", err, c.want)
			}
		})
	}
}
