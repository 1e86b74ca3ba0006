package transport_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"testing"
)

// What the guide advises instead of pre-shared keys: the fingerprint of a self-signed certificate.
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
	client.MaxVersion = tls.VersionTLS12 // tickets come with the handshake
	client.Certificates = []tls.Certificate{known}
	for i := range 2 { // it is asked of resumed sessions as well
		conn, _, serr, cerr := shake(t, server, client)
		if serr != nil || cerr != nil {
			t.Fatal(serr, cerr)
		}
		if state, _ := conn.TLS(); state.DidResume != (i > 0) {
			t.Errorf("resumed %v", state.DidResume)
		}
	}
	pin = [32]byte{}
	_, _, err, _ := shake(t, server, client)
	wantIs(t, err, errStranger)
	client.ClientSessionCache, client.Certificates = nil, []tls.Certificate{stranger}
	_, _, err, _ = shake(t, server, client)
	wantIs(t, err, errStranger)
}
