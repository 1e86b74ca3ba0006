package transport_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"testing"
)

// The guide recommends this instead of pre-shared keys: the fingerprint of a self-signed
// certificate is pinned.
func TestPinnedClientCertificate(t *testing.T) {
	known, stranger := clientCert(t), clientCert(t)
	pin := sha256.Sum256(known.Leaf.Raw)
	errStranger := errors.New("not a known device")
	server := testTLS()
	server.ClientAuth = tls.RequireAnyClientCert
	server.VerifyConnection = func(s tls.ConnectionState) error {
		if sum := sha256.Sum256(s.PeerCertificates[0].Raw); !bytes.Equal(sum[:], pin[:]) {
			return errStranger
		}
		return nil
	}
	client := testTLS()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	client.MaxVersion = tls.VersionTLS12 // in TLS 1.2 tickets are sent during the handshake
	client.Certificates = []tls.Certificate{known}
	for i := range 2 { // resumed sessions are checked as well
		conn, _, serr, cerr := handshakes(t, server, client)
		if serr != nil || cerr != nil {
			t.Fatalf("handshake: got %v, %v, want no errors", serr, cerr)
		}
		if state, _ := conn.TLS(); state.DidResume != (i > 0) {
			t.Errorf("got resumed %v, want %v", state.DidResume, i > 0)
		}
	}
	pin = [32]byte{}
	_, _, err, _ := handshakes(t, server, client)
	wantIs(t, err, errStranger)
	client.ClientSessionCache, client.Certificates = nil, []tls.Certificate{stranger}
	_, _, err, _ = handshakes(t, server, client)
	wantIs(t, err, errStranger)
}
