package certs_test

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"testing"

	"goranch/transport/certs"
)

// A ticket is accepted only while the CA that verified the client's certificate is still trusted.
func TestNoResumptionUnderRemovedClientCAs(t *testing.T) {
	versions(t, func(t *testing.T, v uint16) {
		d, ca, a, b := newDir(t), newAuthority(t, "ca"), newAuthority(t, "a"), newAuthority(t, "b")
		s := open(t, certs.Options{
			Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, ClientCAs: []string{d.write("ca", a.pem)},
			TicketKeys: [][32]byte{{1}}, // with configured keys as well
		})
		required, given := serve(t, s.Config(nil)), serve(t, s.Config(&tls.Config{ClientAuth: tls.VerifyClientCertIfGiven}))
		config := func() *tls.Config {
			return &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", MaxVersion: v,
				Certificates: []tls.Certificate{a.client(t, "alice")}, ClientSessionCache: new(sessions)}
		}
		strict, lax := config(), config()
		live, conn := required.mustDial(t, strict)
		if id := identity(conn); id == nil || id.CommonName != "alice" {
			t.Fatalf("got identity %+v, want that of the client", id)
		}
		given.mustDial(t, lax)
		strict.Certificates, lax.Certificates = nil, nil // from here on, only the ticket authenticates the client
		if _, conn := required.mustDial(t, strict); !resumed(conn) || identity(conn) == nil || identity(conn).CommonName != "alice" {
			t.Fatalf("got resumed %v, identity %+v, want a resumed session", resumed(conn), identity(conn))
		}
		if _, conn := given.mustDial(t, lax); !resumed(conn) || identity(conn) == nil {
			t.Fatal("got no resumed session, want one")
		}

		d.write("ca", a.pem+b.pem)
		reload(t, s)
		if _, conn := given.mustDial(t, lax.Clone()); resumed(conn) {
			t.Error("got a session resumed under other CAs, want none")
		}
		d.write("ca", b.pem)
		reload(t, s)
		if _, conn := given.mustDial(t, lax.Clone()); resumed(conn) || identity(conn) != nil {
			t.Errorf("got resumed %v, identity %+v, want a new session", resumed(conn), identity(conn))
		}
		required.mustFail(t, strict)
		full := config()
		required.mustFail(t, full)
		full.Certificates = []tls.Certificate{b.client(t, "bob")}
		if _, conn := required.mustDial(t, full); identity(conn) == nil || identity(conn).CommonName != "bob" {
			t.Errorf("got identity %+v, want bob", identity(conn))
		}
		if err := ping(live); err != nil {
			t.Errorf("existing connection: got %v, want no error", err)
		}
	})
}

// crypto/tls alone, with unchanged ticket keys, does not resume the session either.
func TestCryptoTLSChecksResumedChains(t *testing.T) {
	versions(t, func(t *testing.T, v uint16) {
		d, ca, a, b := newDir(t), newAuthority(t, "ca"), newAuthority(t, "a"), newAuthority(t, "b")
		p := d.pair(ca, "a", "a.test")
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		before := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.pool()}
		before.SetSessionTicketKeys([][32]byte{{1}})
		after := before.Clone()
		after.ClientCAs = b.pool()
		c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", MaxVersion: v,
			Certificates: []tls.Certificate{a.client(t, "alice")}, ClientSessionCache: new(sessions)}
		serve(t, before).mustDial(t, c)
		c.Certificates = nil
		if _, conn := serve(t, before).mustDial(t, c); !resumed(conn) {
			t.Error("got no resumed session, want one")
		}
		if _, conn := serve(t, after).mustDial(t, c); resumed(conn) {
			t.Error("got a resumed session, want none")
		}
	})
}

// Configurations of one Store with different policies do not accept each other's tickets.
func TestNoResumptionAcrossPolicies(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}})
	open, strict := serve(t, s.Config(nil)), serve(t, s.Config(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool()}))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", ClientSessionCache: new(sessions)}
	open.mustDial(t, c)
	strict.mustFail(t, c)
}

// Without client CAs no client is accepted; crypto/tls would use the roots of the system.
func TestVerificationWithoutClientCAs(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	t.Setenv("SSL_CERT_FILE", d.write("roots", ca.pem))
	srv := serve(t, open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}}).Config(&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}))
	srv.mustFail(t, &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", Certificates: []tls.Certificate{ca.client(t, "alice")}})
}

func TestSharedTicketKeys(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	o := certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}}
	node := func(keys ...[32]byte) (*certs.Store, *server) {
		o := o
		o.TicketKeys = keys
		s := open(t, o)
		return s, serve(t, s.Config(nil))
	}
	k1, k2, k3 := [32]byte{1}, [32]byte{2}, [32]byte{3}
	one, srv1 := node(k1)
	two, srv2 := node(k1)
	_, alone := node()
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", ClientSessionCache: new(sessions)}
	visit := func(what string, s *server, want bool) {
		t.Helper()
		if _, conn := s.mustDial(t, c); resumed(conn) != want {
			t.Errorf("%s: got resumed %v, want %v", what, !want, want)
		}
	}
	set := func(s *certs.Store, keys ...[32]byte) {
		t.Helper()
		if err := s.SetTicketKeys(keys); err != nil {
			t.Fatal(err)
		}
	}
	visit("first", srv1, false)
	visit("at the other node", srv2, true)
	visit("at a node with keys of its own", alone, false)
	visit("back", srv2, false)
	// The new key is second on all servers, then first on all servers.
	set(one, k1, k2)
	visit("known to one", srv2, true)
	set(two, k1, k2)
	set(one, k2, k1)
	visit("the new key is first at one", srv1, true)
	visit("second at the other", srv2, true)
	set(two, k2)
	visit("the ticket of the second's old first", srv2, false)
	d.pair(ca, "a", "a.test") // a new certificate does not change keys
	reload(t, two)
	visit("after a reload", srv2, true)
	set(two, k3)
	visit("another key", srv2, false)
	if err := one.SetTicketKeys(nil); err == nil {
		t.Errorf("no keys: got %v, want an error", err)
	}
}

func TestTicketKeyFile(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	line := func(b byte) string { return hex.EncodeToString(append(make([]byte, 31), b)) + "\n" }
	s := open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}, TicketKeyFile: d.write("keys", "# newest first\n"+line(1))})
	srv := serve(t, s.Config(nil))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", ClientSessionCache: new(sessions)}
	srv.mustDial(t, c)
	d.write("keys", line(2)+line(1))
	reload(t, s)
	if _, conn := srv.mustDial(t, c); !resumed(conn) {
		t.Error("got no session resumed with the older key, want one")
	}
	d.write("keys", line(3))
	reload(t, s)
	if _, conn := srv.mustDial(t, c); resumed(conn) {
		t.Error("got a session resumed with a removed key, want none")
	}
	d.write("keys", line(3)[:40])
	if _, err := s.Reload(); !errors.Is(err, certs.ErrBadTicketKeys) {
		t.Error(err)
	}
	if err := s.SetTicketKeys([][32]byte{{1}}); err == nil {
		t.Errorf("with a key file: got %v, want an error", err)
	}
}

func TestTicketsDisabled(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	srv := serve(t, open(t, certs.Options{Pairs: []certs.Pair{d.pair(ca, "a", "a.test")}}).Config(&tls.Config{SessionTicketsDisabled: true}))
	c := &tls.Config{RootCAs: ca.pool(), ServerName: "a.test", ClientSessionCache: new(sessions)}
	srv.mustDial(t, c)
	if _, conn := srv.mustDial(t, c); resumed(conn) {
		t.Error("got a resumed session, want none")
	}
}
