package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/transport"
)

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := new(authority)
	c := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue signs tmpl; it is self-signed if the authority has no certificate yet.
func (a *authority) issue(t *testing.T, tmpl *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(7), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// tlsConn returns the server's side of a TLS connection whose client presents cert, if it is not
// nil.
func tlsConn(t *testing.T, ca *authority, policy tls.ClientAuthType, cert *tls.Certificate) *transport.Conn {
	t.Helper()
	server := ca.issue(t, &x509.Certificate{DNSNames: []string{"shell.test"}})
	tr := transport.TLS{Config: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: policy, ClientCAs: ca.pool()}}
	return accept(t, tr, "127.0.0.1:0", func(addr string) (net.Conn, error) {
		c := &tls.Config{RootCAs: ca.pool(), ServerName: "shell.test"}
		if cert != nil {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
	})
}

func alice() *x509.Certificate {
	u, _ := url.Parse("spiffe://example.org/ops")
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: "alice"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"Ops.example.org", "*.example.net"}, URIs: []*url.URL{u}, EmailAddresses: []string{"alice@example.org"},
		IPAddresses: []net.IP{net.ParseIP("192.0.2.1")},
	}
}

func TestCertificates(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, alice())
	conn := tlsConn(t, ca, tls.RequireAndVerifyClientCert, &cert)
	sum := sha256.Sum256(cert.Certificate[0])
	print := hex.EncodeToString(sum[:])
	for _, c := range []struct {
		rule    string
		matches bool
	}{
		{"cn:alice", true}, {"cn:Alice", false}, {"cn:ali", false}, {"cn:*", false}, {"cn:ops.example.org", false},
		{"dns:ops.example.org", true}, {"dns:OPS.example.org", true}, {"dns:example.org", false}, {"dns:alice", false},
		{"dns:*.example.net", true}, {"dns:a.example.net", false}, {"dns:*.example.org", false},
		{"uri:spiffe://example.org/ops", true}, {"uri:spiffe://example.org/", false}, {"uri:spiffe://example.org/ops/x", false},
		{"email:alice@example.org", true}, {"email:bob@example.org", false},
		{"ip:192.0.2.1", true}, {"ip:::ffff:192.0.2.1", true}, {"ip:127.0.0.1", false},
		{"sha256:" + print, true}, {"sha256:" + strings.ToUpper(print), true}, {"sha256:" + strings.Repeat("00", 32), false},
		{"sha256:" + print[:2] + ":" + print[2:], true},
		{"any", true},
	} {
		auth, err := Certificates(Rules{Operators: []string{c.rule}})
		if err != nil {
			t.Fatal(err)
		}
		want := result{Err: "access denied: CN=alice has no role"}
		if c.matches {
			want = result{User: shell.User{Name: "CN=alice", Role: shell.Operator}}
		}
		user, err := auth(t.Context(), conn)
		if diff := cmp.Diff(want, resultOf(user, err)); diff != "" || !c.matches && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: got error %v; result (-want +got):\n%s", c.rule, err, diff)
		}
	}
}

func TestCertificateRoles(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, alice())
	conn := tlsConn(t, ca, tls.RequireAndVerifyClientCert, &cert)
	for _, c := range []struct {
		name string
		opts Rules
		want shell.Role
	}{
		{"viewer", Rules{Viewers: []string{"cn:bob", "cn:alice"}}, shell.Viewer},
		{"highest role", Rules{Viewers: []string{"any"}, Operators: []string{"cn:alice"}}, shell.Operator},
		{"operator rule for others", Rules{Viewers: []string{"any"}, Operators: []string{"cn:bob"}}, shell.Viewer},
		{"others admitted", Rules{AdmitOthers: true}, shell.Guest},
	} {
		auth, err := Certificates(c.opts)
		if err != nil {
			t.Fatal(err)
		}
		user, err := auth(t.Context(), conn)
		if want := (shell.User{Name: "CN=alice", Role: c.want}); user != want || err != nil {
			t.Errorf("%s: got %+v and error %v, want %+v", c.name, user, err, want)
		}
	}
}

// Only verified certificates count, whatever the TLS configuration accepts.
func TestUnverifiedCertificates(t *testing.T) {
	auth, err := Certificates(Rules{Operators: []string{"any", "cn:alice"}})
	if err != nil {
		t.Fatal(err)
	}
	ca, other := newAuthority(t), newAuthority(t)
	foreign := other.issue(t, alice())
	good := ca.issue(t, alice())
	for _, c := range []struct {
		name string
		conn *transport.Conn
	}{
		{"without TLS", connect(t, transport.TCP{}, "127.0.0.1:0")},
		{"no certificate requested", tlsConn(t, ca, tls.NoClientCert, &good)},
		{"no certificate", tlsConn(t, ca, tls.VerifyClientCertIfGiven, nil)},
		{"unverified, of another authority", tlsConn(t, ca, tls.RequireAnyClientCert, &foreign)},
		{"unverified, of the right authority", tlsConn(t, ca, tls.RequestClientCert, &good)},
	} {
		if user, err := auth(t.Context(), c.conn); !errors.Is(err, ErrNotApplicable) || user != (shell.User{}) {
			t.Errorf("%s: got %+v and error %v, want %v", c.name, user, err, ErrNotApplicable)
		}
	}
	want := shell.User{Name: "CN=alice", Role: shell.Operator}
	if user, err := auth(t.Context(), tlsConn(t, ca, tls.VerifyClientCertIfGiven, &good)); user != want || err != nil {
		t.Errorf("verified: got %+v and error %v, want %+v", user, err, want)
	}
}

func TestCertificateName(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		change func(*x509.Certificate)
		want   string
	}{
		{func(*x509.Certificate) {}, "CN=alice"},
		{func(x *x509.Certificate) { x.Subject.CommonName = "a\nuid 0 \u202e" }, `CN=a\u000auid 0 \u202e`},
		{func(x *x509.Certificate) { x.Subject.CommonName = "" }, "URI=spiffe://example.org/ops"},
		{func(x *x509.Certificate) { x.URIs = nil }, "email=alice@example.org"},
		{func(x *x509.Certificate) { x.EmailAddresses = nil }, "DNS=Ops.example.org"},
		{func(x *x509.Certificate) { x.DNSNames = nil }, "IP=192.0.2.1"},
	} {
		tmpl := alice()
		c.change(tmpl)
		if !strings.HasPrefix(c.want, "CN=") { // each row has fewer names than the one before
			tmpl.Subject.CommonName = ""
			if c.want[0] != 'U' {
				tmpl.URIs = nil
			}
			if c.want[0] == 'D' || c.want[0] == 'I' {
				tmpl.EmailAddresses = nil
			}
		}
		leaf := ca.issue(t, tmpl).Leaf
		id := transport.IdentityOf(tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}})
		if got := certificateName(id); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if got := certificateName(&transport.Identity{Fingerprint: "0f"}); got != "sha256=0f" {
		t.Errorf("without names: got %s, want sha256=0f", got)
	}
}

func TestCertificateRuleFaults(t *testing.T) {
	_, err := Certificates(Rules{
		Viewers:   []string{"any", "alice", "", "cn:", "any:", "CN:alice"},
		Operators: []string{"ip:host", "ip:fe80::1%eth0", "sha256:00", "sha256:" + strings.Repeat("x", 64), "uri:"},
	})
	if err == nil {
		t.Fatal("got no error, want one per invalid rule")
	}
	for _, want := range []string{"Viewers[1]", "Viewers[2]", `Viewers[3] "cn:": "cn:" must be followed by a value`, "Viewers[4]", "Viewers[5]",
		"Operators[0]", "Operators[1]", "Operators[2]", "Operators[3]", "Operators[4]"} {
		if !strings.Contains(err.Error(), "option "+want) {
			t.Errorf("got error\n%v\nwant %s in it", err, want)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 10 {
		t.Errorf("got %d faults, want 10:\n%v", got, err)
	}
}
