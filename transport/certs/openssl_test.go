package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os/exec"
	"strings"
	"testing"

	"goranch/transport"
	"goranch/transport/certs"
)

// sClient runs openssl s_client until the server has echoed a line or the handshake has failed, and
// returns its output.
func sClient(t *testing.T, addr string, args ...string) (string, error) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: apt-get install openssl")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-connect", addr, "-ign_eof", "-verify_return_error"}, args...)...)
	cmd.Stdin = strings.NewReader("sent by openssl\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// oneLine echoes one line and ends, because s_client has no option to end after an answer.
func oneLine(t *testing.T, s *certs.Store, base *tls.Config) *server {
	return serveBy(t, s.Config(base), func(c *transport.Conn) {
		p := make([]byte, 100)
		for n := 0; n == 0 || p[n-1] != '\n'; {
			m, err := c.Read(p[n:])
			if err != nil || n+m == len(p) {
				return
			}
			n += m
			c.Write(p[n-m : n])
		}
	})
}

func expect(t *testing.T, what, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%s: output of openssl: got no %q, want it:\n%s", what, w, out)
		}
	}
}

func TestOpenSSLServerName(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test"), d.pair(ca, "b", "*.b.test")}, RefuseUnknown: true, RefuseNameless: true})
	srv := oneLine(t, s, nil)
	roots := d.write("roots.pem", ca.pem)
	for _, tt := range []struct{ name, version string }{{"a.test", "-tls1_2"}, {"a.test", "-tls1_3"}, {"x.b.test", "-tls1_3"}} {
		out, err := sClient(t, srv.addr, "-servername", tt.name, "-verify_hostname", tt.name, "-CAfile", roots, tt.version)
		expect(t, tt.name, out, "sent by openssl\n", "Verify return code: 0 (ok)")
		if r := srv.last(t); err != nil || r.err != nil {
			t.Errorf("%s: got %v, %v, want no errors", tt.name, err, r.err)
		}
	}
	for _, args := range [][]string{{"-servername", "c.test"}, {"-servername", "b.test"}, {"-servername", "c.test", "-tls1_2"}, {"-noservername"}} {
		out, err := sClient(t, srv.addr, args...)
		expect(t, strings.Join(args, " "), out, "SSL alert number 112")
		r := srv.last(t)
		if err == nil || r.err == nil || !strings.Contains(r.err.Error(), "refused after the ClientHello") {
			t.Errorf("%v: got %v, %v, want errors", args, err, r.err)
		}
	}
}

func TestOpenSSLVersionsAndALPN(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}})
	only := func(v uint16) *tls.Config {
		return &tls.Config{MinVersion: v, MaxVersion: v, NextProtos: []string{"lines/2", "lines/1"}}
	}
	for _, tt := range []struct {
		base *tls.Config
		args string
		want string
		ok   bool
	}{
		{only(tls.VersionTLS12), "-tls1_2", "New, TLSv1.2", true},
		{only(tls.VersionTLS13), "-tls1_3", "New, TLSv1.3", true},
		{only(tls.VersionTLS12), "-tls1_3", "alert protocol version", false},
		{only(tls.VersionTLS13), "-tls1_2", "alert protocol version", false},
		{only(tls.VersionTLS13), "-alpn lines/1,lines/2", "ALPN protocol: lines/2", true}, // the server decides
		{only(tls.VersionTLS12), "-alpn lines/1", "ALPN protocol: lines/1", true},
		{only(tls.VersionTLS13), "-alpn other", "alert no application protocol", false},
		{&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, "-tls1_2",
			"Cipher is ECDHE-ECDSA-CHACHA20-POLY1305", true},
	} {
		srv := oneLine(t, s, tt.base)
		out, err := sClient(t, srv.addr, append(strings.Fields(tt.args), "-CAfile", d.write("roots.pem", ca.pem))...)
		expect(t, tt.args, out, tt.want)
		if r := srv.last(t); (err == nil) != tt.ok || (r.err == nil) != tt.ok {
			t.Errorf("%s: got %v, %v, want success %v", tt.args, err, r.err, tt.ok)
		}
	}
}

func TestOpenSSLClientCertificate(t *testing.T) {
	d, ca, mine, wrong := newDir(t), newAuthority(t, "ca"), newAuthority(t, "mine"), newAuthority(t, "wrong")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, ClientCAs: []string{d.write("mine.pem", mine.pem)}})
	srv := oneLine(t, s, nil)
	files := func(by *authority, name string) []string {
		c, k := issue(t, by, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return []string{"-cert", d.write(name+".crt", certPEM(c)), "-key", d.write(name+".key", keyPEM(t, k)), "-CAfile", d.write("roots.pem", ca.pem)}
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		out, err := sClient(t, srv.addr, append(files(mine, "alice"), version)...)
		expect(t, "alice", out, "sent by openssl\n")
		r := srv.last(t)
		if err != nil || r.err != nil {
			t.Errorf("got %v, %v, want no errors", err, r.err)
		} else if id := identity(r.conn); id == nil || id.CommonName != "alice" {
			t.Errorf("got identity %+v, want that of the client", id)
		}
		out, _ = sClient(t, srv.addr, append(files(wrong, "mallory"), version)...)
		expect(t, "mallory", out, "alert")
		if r := srv.last(t); r.err == nil || identity(r.conn) != nil {
			t.Errorf("client of another CA: got %v, %+v, want an error and no identity", r.err, identity(r.conn))
		}
		out, _ = sClient(t, srv.addr, version, "-CAfile", d.file("roots.pem"))
		expect(t, "nobody", out, "alert")
		if r := srv.last(t); r.err == nil {
			t.Error("client without a certificate: got no error, want one")
		}
	}
}

func TestOpenSSLResumption(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}})
	srv := oneLine(t, s, nil)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		file := d.file("session" + version)
		out, _ := sClient(t, srv.addr, version, "-CAfile", d.write("roots.pem", ca.pem), "-servername", "a.test", "-sess_out", file)
		expect(t, "first", out, "New, TLSv1")
		srv.last(t)
		d.pair(ca, "a", "a.test") // a new certificate does not end sessions
		reload(t, s)
		out, _ = sClient(t, srv.addr, version, "-CAfile", d.file("roots.pem"), "-servername", "a.test", "-sess_in", file)
		expect(t, "second", out, "Reused, TLSv1", "sent by openssl\n")
		if r := srv.last(t); r.err != nil || !resumed(r.conn) {
			t.Errorf("%s: got %v, want no error", version, r.err)
		}
	}
}
