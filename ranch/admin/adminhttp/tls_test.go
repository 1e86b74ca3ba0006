package adminhttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"goranch/protocol/echo"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
	"goranch/ranch/admin/adminhttp"
	"goranch/transport"
)

// testCertificate returns the certificate of package httptest, which is valid for example.com, and
// a pool with it.
func testCertificate() (tls.Certificate, *x509.CertPool) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv.TLS.Certificates[0], pool
}

// clientCertificate returns a certificate for clients, and a pool with it as its own authority.
func clientCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ops"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Over TLS the host may be the name in the certificate, because browsers have verified it; a
// verified client certificate makes an operator.
func TestTLS(t *testing.T) {
	cert, pool := testCertificate()
	client, clients := clientCertificate(t)
	certificates, err := access.Certificates(access.Rules{Operators: []string{"cn:ops"}})
	if err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t, adminhttp.Options{Authenticate: access.Combine(certificates, access.Anyone(shell.Guest))})
	config := &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven}
	s.url = "https://" + s.start("https", transport.TLS{Config: config}, "127.0.0.1:0", s.handler).Addr().String()
	for _, c := range []struct {
		name           string
		host           string
		certificate    bool
		status, gcCode int
	}{
		{"name of the certificate", "example.com", true, 200, 200},
		{"other name", "other.example.org", true, 403, 403},
		{"address", "127.0.0.1", true, 200, 200},
		{"no certificate", "example.com", false, 401, 401},
	} {
		tc := &tls.Config{RootCAs: pool, ServerName: "example.com"}
		if c.certificate {
			tc.Certificates = []tls.Certificate{client}
		}
		tr := &http.Transport{TLSClientConfig: tc}
		s.client = &http.Client{Transport: tr, Timeout: timeout}
		if a := s.do("GET", "/status", "", "Host", c.host); a.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, a.status, a.body, c.status)
		}
		if a := s.do("POST", "/commands/gc", "{}", "Host", c.host); a.status != c.gcCode {
			t.Errorf("%s: gc: got %d %s, want %d", c.name, a.status, a.body, c.gcCode)
		}
		tr.CloseIdleConnections()
	}
}

// The samples have the 99th percentile of the handshakes since the previous one.
func TestHandshakeP99(t *testing.T) {
	cert, pool := testCertificate()
	s := newTestServer(t, adminhttp.Options{Interval: time.Millisecond})
	tr := transport.TLS{Config: &tls.Config{Certificates: []tls.Certificate{cert}}}
	l := s.start("a-tls", tr, "127.0.0.1:0", echo.Protocol{})
	e := s.events("?kinds=stats")
	var st struct {
		Listeners []map[string]any
	}
	p99 := func() (v any, ok bool) {
		e.next("stats", &st)
		v, ok = st.Listeners[0]["handshake_p99"]
		st.Listeners = nil // decoding into the same maps would merge them
		return v, ok
	}
	if v, ok := p99(); ok {
		t.Errorf("p99 before a handshake: got %v, want none", v)
	}
	client := transport.TLS{Config: &tls.Config{RootCAs: pool, ServerName: "example.com"}}
	nc, err := client.Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "x")
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.waitFor("the time of the handshake", func() bool {
		v, _ := p99()
		seconds, ok := v.(float64)
		return ok && seconds > 0 && seconds < 60
	})
	s.waitFor("an interval without a handshake", func() bool {
		v, ok := p99()
		return ok && v == nil
	})
}
