package sniff_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clientConfigs are configurations of crypto/tls whose ClientHello differs.
var clientConfigs = []struct {
	name   string
	config *tls.Config
	want   helloInfo
}{
	{"server name", &tls.Config{ServerName: "example.com"}, helloInfo{server: "example.com"}},
	{"ALPN", &tls.Config{ServerName: "Example.com", NextProtos: []string{"h2", "http/1.1"}}, helloInfo{"Example.com", []string{"h2", "http/1.1"}}},
	{"TLS 1.2", &tls.Config{ServerName: "example.com", MaxVersion: tls.VersionTLS12}, helloInfo{server: "example.com"}},
	{"no server name", &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}, helloInfo{alpn: []string{"h2"}}},
	{"address", &tls.Config{ServerName: "192.0.2.1"}, helloInfo{}},
	{"ECH", &tls.Config{ServerName: "secret.example", NextProtos: []string{"h2"}, EncryptedClientHelloConfigList: echConfigs("public.example")}, helloInfo{"public.example", []string{"h2"}}},
}

// echConfigs returns a list of one configuration for Encrypted Client Hello (RFC 9849, section 4).
func echConfigs(publicName string) []byte {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	kem, ciphers := "\x00\x20", "\x00\x01\x00\x01" // X25519; HKDF-SHA256 and AES-128-GCM
	config := "\x01" + kem + vector(2, string(key.PublicKey().Bytes())) + vector(2, ciphers) + "\x20" + vector(1, publicName) + vector(2, "")
	return []byte(vector(2, "\xfe\x0d"+vector(2, config)))
}

// sent is a connection that keeps what is written.
type sent struct {
	received
	*bytes.Buffer
}

func (s sent) Read(p []byte) (int, error)  { return s.received.Read(p) }
func (s sent) Write(p []byte) (int, error) { return s.Buffer.Write(p) }

// realHello returns the ClientHello of a client of crypto/tls.
func realHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	s := sent{received{Reader: bytes.NewReader(nil)}, new(bytes.Buffer)}
	err := tls.Client(s, config).Handshake() // fails at the end of input
	if s.Buffer.Len() == 0 {
		t.Fatalf("got no ClientHello: %v", err)
	}
	return s.Buffer.Bytes()
}

// With ECH the server name is the public one.
func TestRealClientHello(t *testing.T) {
	for _, c := range clientConfigs {
		first := realHello(t, c.config)
		got, more := parsed(first)
		if got == nil || more {
			t.Errorf("%s: got %v, more %t, want a ClientHello in %q", c.name, got, more, first)
			continue
		}
		if diff := cmp.Diff(c.want, *got, cmp.AllowUnexported(helloInfo{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if bytes.Contains(first, []byte("secret.example")) {
			t.Errorf("%s: the server name is not encrypted", c.name)
		}
	}
}
