package certs_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"goranch/transport"
	"goranch/transport/certs"
)

func TestCertificateByHostName(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	o := certs.Options{Pairs: []certs.Pair{
		d.pair(ca, "default", "example.com", "www.example.com"),
		d.pair(ca, "wild", "*.example.com", "*.Example.ORG"),
		d.pair(ca, "other", "other.example.com"),
	}}
	strict := o
	strict.RefuseUnknown, strict.RefuseNameless = true, true
	lenient, refusing := serve(t, open(t, o).Config(nil)), serve(t, open(t, strict).Config(nil))
	for _, tt := range []struct{ host, want string }{ // "" is refused with RefuseUnknown
		{"example.com", "example.com"},
		{"www.example.com", "example.com"}, // an exact name takes precedence over a wildcard
		{"WWW.Example.COM", "example.com"},
		{"other.example.com", "other.example.com"},
		{"any.example.com", "*.example.com"},
		{"x.example.org", "*.example.com"},
		{"a.b.example.com", ""},
		{"example.org", ""}, // a wildcard does not match its parent
		{"*.example.com", ""},
		{"com", ""},
		{"elsewhere.net", ""},
		{"", ""},
	} {
		c := &tls.Config{ServerName: tt.host, InsecureSkipVerify: true}
		want := tt.want
		if want == "" {
			want = "example.com" // the first certificate
		}
		cli, _ := lenient.mustDial(t, c)
		if got := cli.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("%q: the certificate of %q, want %q", tt.host, got, want)
		}
		if tt.want != "" {
			cli, _ := refusing.mustDial(t, c)
			if got := cli.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
				t.Errorf("%q, strict: the certificate of %q, want %q", tt.host, got, want)
			}
			continue
		}
		versions(t, func(t *testing.T, v uint16) {
			c := c.Clone()
			c.MaxVersion = v
			if err := refusing.mustFail(t, c, transport.ErrUnknownHost); !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%q: client: got %q, want unrecognized_name", tt.host, err)
			}
		})
	}
}

func TestUnknownHostInError(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	srv := serve(t, open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, RefuseUnknown: true}).Config(nil))
	srv.dial(t, &tls.Config{ServerName: "b.test", InsecureSkipVerify: true})
	if err := srv.last(t).err; !errors.Is(err, transport.ErrUnknownHost) || !strings.Contains(err.Error(), `no certificate for host "b.test"`) {
		t.Errorf("error of the handshake: got %v, want ErrUnknownHost with the host b.test", err)
	}
	// RefuseNameless is a separate policy for clients that request no host.
	srv.mustDial(t, &tls.Config{InsecureSkipVerify: true})
}

// A ticket for one host is not accepted for another host that is not served.
func TestUnknownHostWithTicketIsRefused(t *testing.T) {
	versions(t, func(t *testing.T, v uint16) {
		d, ca := newDir(t), newAuthority(t, "ca")
		srv := serve(t, open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, RefuseUnknown: true}).Config(nil))
		c := &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, MaxVersion: v, ClientSessionCache: new(sessions)}
		srv.mustDial(t, c)
		if _, conn := srv.mustDial(t, c); !resumed(conn) {
			t.Fatal("got no resumed session, want one")
		}
		c.ServerName = "b.test"
		srv.mustFail(t, c, transport.ErrUnknownHost)
	})
}

func resumed(c *transport.Conn) bool {
	state, _ := c.TLS()
	return state.DidResume
}
