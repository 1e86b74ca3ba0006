package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"goranch/transport"
)

func TestTLSValidate(t *testing.T) {
	with := func(change func(*tls.Config)) *tls.Config {
		c := testTLS()
		change(c)
		return c
	}
	_, pool := certificate()
	for _, tt := range []struct {
		name string
		c    *tls.Config
		want []string // parts of the error; none: valid
	}{
		{"none", nil, nil},
		{"plain", testTLS(), nil},
		{"1.2 only", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), nil},
		{"old, as asked for", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), nil},
		{"max below min", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS12 }), []string{"MaxVersion TLS 1.2", "TLS 1.3"}},
		{"max below the default min", with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }), []string{"MaxVersion TLS 1.1", "TLS 1.2"}},
		{"no versions", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = 12, 0x305 }), []string{"MinVersion 0x000c", "MaxVersion 0x0305"}},
		{"verified by the system's roots", with(func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }), []string{"RequireAndVerifyClientCert", "ClientCAs", "SystemCertPool"}},
		{"if given, by the system's roots", with(func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }), []string{"VerifyClientCertIfGiven"}},
		{"verified", with(func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool }), nil},
		{"not verified", with(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), nil},
		{"no such policy", with(func(c *tls.Config) { c.ClientAuth = 9 }), []string{"ClientAuth 9"}},
		{"suite", with(func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256} }), nil},
		{"unknown suite", with(func(c *tls.Config) { c.CipherSuites = []uint16{0xfefe} }), []string{"CipherSuites[0] 0xfefe"}},
		{"no suite for 1.2", with(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_AES_128_GCM_SHA256}
		}), []string{"CipherSuites", "TLS 1.2"}},
		{"ALPN", with(func(c *tls.Config) { c.NextProtos = []string{"a", "", strings.Repeat("x", 256)} }), []string{"NextProtos[1]", "NextProtos[2]"}},
		{"no key", with(func(c *tls.Config) {
			c.Certificates = append(c.Certificates, tls.Certificate{Certificate: [][]byte{{1}}})
		}), []string{"Certificates[1]"}},
	} {
		tr := transport.TLS{Config: tt.c}
		err := tr.Validate()
		if (err != nil) != (len(tt.want) > 0) {
			t.Errorf("%s: got %v, want no error", tt.name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got no fault of %q, want one: %v", tt.name, want, err)
			}
		}
		if err != nil {
			if ln, lerr := tr.Listen(t.Context(), "127.0.0.1:0"); lerr == nil {
				ln.Close()
				t.Errorf("%s: Listen: got no error, want that of Validate", tt.name)
			}
		}
	}
	if err := (transport.TLS{TCP: transport.TCP{Backlog: -1}}).Validate(); err == nil || !strings.Contains(err.Error(), "Backlog") {
		t.Errorf("options of TCP: got %v, want their fault", err)
	}
}

// A handshake without a certificate is an error and does not panic.
func TestTLSHandshakeWithoutCertificate(t *testing.T) {
	_, b := memConns(t)
	err := transport.NewConn(transport.TLS{}, b).Handshake(t.Context())
	wantIs(t, err, transport.ErrNoCertificate)
	b.Close()
}

// errors.Is finds the errors of callbacks after they have passed through crypto/tls.
func TestTLSHandshakeErrorsAreWrapped(t *testing.T) {
	reason := errors.New("revoked")
	c := testTLS()
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, c.RootCAs
	c.VerifyConnection = func(tls.ConnectionState) error { return reason }
	client := testTLS()
	_, _, err, _ := handshakes(t, c, client)
	wantIs(t, err, reason)

	c.VerifyConnection, c.ClientCAs = nil, x509.NewCertPool()
	_, _, err, _ = handshakes(t, c, client)
	var e *tls.CertificateVerificationError
	if !errors.As(err, &e) || !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("got %v, %v, want the error of the callback", e, err)
	}
}
