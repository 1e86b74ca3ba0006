package transport_test

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
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/transport"
)

// clientCert returns a self-signed client certificate.
func clientCert(t *testing.T, uris ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), Subject: pkix.Name{CommonName: "alice"},
		DNSNames: []string{"alice.test"}, EmailAddresses: []string{"alice@example.org"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestIdentity(t *testing.T) {
	const id = "spiffe://example.org/alice"
	cert := clientCert(t, id)
	sum := sha256.Sum256(cert.Leaf.Raw)
	want := &transport.Identity{
		CommonName: "alice", DNSNames: []string{"alice.test"}, URIs: []string{id}, Emails: []string{"alice@example.org"},
		IPs:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Serial: "0ABC", SPIFFE: id, Fingerprint: hex.EncodeToString(sum[:]),
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	for _, tt := range []struct {
		auth   tls.ClientAuthType
		offers bool
		want   *transport.Identity
	}{
		{tls.NoClientCert, true, nil},
		{tls.RequestClientCert, true, nil}, // presented, but not verified
		{tls.RequireAnyClientCert, true, nil},
		{tls.VerifyClientCertIfGiven, false, nil},
		{tls.VerifyClientCertIfGiven, true, want},
		{tls.RequireAndVerifyClientCert, true, want},
	} {
		server, client := testTLS(), testTLS()
		server.ClientAuth, server.ClientCAs = tt.auth, pool
		client.Certificates = nil
		if tt.offers {
			client.Certificates = []tls.Certificate{cert}
		}
		conn, _, serr, cerr := handshakes(t, server, client)
		if serr != nil || cerr != nil {
			t.Fatalf("%v: got %v, %v, want no errors", tt.auth, serr, cerr)
		}
		state, _ := conn.TLS()
		got := transport.IdentityOf(state)
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(transport.Identity{}, "Certificate"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%v, certificate presented %v (-want +got):\n%s", tt.auth, tt.offers, diff)
		}
		if got != nil && !got.Certificate.Equal(cert.Leaf) {
			t.Errorf("%v: got another certificate, want that of the client", tt.auth)
		}
	}
	plain, _ := kindNamed("tcp").pair(t, transport.TCP{})
	state, _ := plain.TLS()
	if id := transport.IdentityOf(state); id != nil {
		t.Errorf("without TLS: got %+v, want nil", id)
	}
}

func TestSPIFFE(t *testing.T) {
	for _, tt := range []struct {
		uris []string
		want string
	}{
		{nil, ""},
		{[]string{"https://example.org"}, ""},
		{[]string{"spiffe://example.org/a"}, "spiffe://example.org/a"},
		{[]string{"spiffe://example.org/a", "spiffe://example.org/b"}, ""},
	} {
		leaf := clientCert(t, tt.uris...).Leaf
		id := transport.IdentityOf(tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}})
		if got := id.SPIFFE; got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.uris, got, tt.want)
		}
	}
}
