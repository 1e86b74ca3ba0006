package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"goranch/transport"
	"goranch/transport/proxy"
)

// Each policy is tested with a header, with a bad one, and without one.
func TestPolicies(t *testing.T) {
	const header, bad, none = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP4 x\r\n", ""
	const client, own = "192.0.2.1:1", "mem:client-1"
	for _, c := range []struct {
		p       proxy.Policy
		sent    string
		want    error
		peer    string
		payload string
	}{
		{proxy.Require, header, nil, client, "data"},
		{proxy.Require, bad, proxy.ErrMalformed, "", ""},
		{proxy.Require, none, proxy.ErrNoHeader, "", ""},
		{proxy.Use, header, nil, client, "data"},
		{proxy.Use, bad, proxy.ErrMalformed, "", ""},
		{proxy.Use, none, nil, own, "data"},
		{proxy.Ignore, header, nil, own, "data"},
		{proxy.Ignore, bad, proxy.ErrMalformed, "", ""},
		{proxy.Ignore, none, nil, own, "data"},
		{proxy.Refuse, header, proxy.ErrRefused, "", ""},
		{proxy.Refuse, bad, proxy.ErrRefused, "", ""},
		{proxy.Refuse, none, nil, own, "data"},
		{"", header, proxy.ErrRefused, "", ""},
		{"", none, nil, own, "data"},
		{proxy.Pass, header, nil, own, header + "data"},
		{proxy.Pass, bad, nil, own, bad + "data"},
		{proxy.Pass, none, nil, own, "data"},
	} {
		t.Run(fmt.Sprintf("%v %.12q", c.p, c.sent), func(t *testing.T) {
			srv, err := serveHeader(t, c.p, c.sent+"data")
			if !errors.Is(err, c.want) {
				t.Fatalf("got error %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			if got := srv.RemoteAddr().String(); got != c.peer {
				t.Errorf("peer: got %s, want %s", got, c.peer)
			}
			if has := srv.Proxy() != nil; has != (c.peer == client) {
				t.Errorf("got header %v, want one only if it is used", srv.Proxy())
			}
			if got, err := io.ReadAll(srv); string(got) != c.payload || err != nil {
				t.Errorf("got payload %q, %v, want %q", got, err, c.payload)
			}
		})
	}
}

// A peer that closes without sending anything is accepted if no header is required.
func TestEndWithoutData(t *testing.T) {
	for _, p := range []proxy.Policy{proxy.Use, proxy.Ignore, proxy.Refuse, proxy.Pass} {
		if srv, err := serveHeader(t, p, ""); err != nil {
			t.Errorf("%v: got %v, want no error", p, err)
		} else if got, err := io.ReadAll(srv); len(got) > 0 || err != nil {
			t.Errorf("%v: got %q, %v, want EOF", p, got, err)
		}
	}
}

// addressed is a connection with a chosen remote address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// The rule with the longest prefix applies, in any order of the rules. Peers without a rule are not
// trusted.
func TestLongestPrefix(t *testing.T) {
	rules := []proxy.Rule{
		{Net: netip.MustParsePrefix("10.1.0.0/16"), Policy: proxy.Refuse},
		{Net: netip.MustParsePrefix("10.0.0.0/8")},
		{Net: netip.MustParsePrefix("10.1.2.3/32"), Policy: proxy.Use},
		{Net: netip.MustParsePrefix("2001:db8::/32"), Policy: proxy.Ignore},
	}
	ip := func(s string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(s), Port: 1} }
	for _, c := range []struct {
		peer     net.Addr
		def      proxy.Policy
		want     error
		believed bool
	}{
		{ip("10.9.9.9"), "", nil, true},
		{ip("::ffff:10.9.9.9"), "", nil, true},
		{ip("10.1.9.9"), "", proxy.ErrRefused, false},
		{ip("10.1.2.3"), "", nil, true},
		{ip("11.0.0.1"), "", proxy.ErrRefused, false},
		{ip("11.0.0.1"), proxy.Ignore, nil, false},
		{ip("2001:db8::1"), "", nil, false},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Zone: "eth0"}, "", nil, false},
		{ip("2001:db9::1"), "", proxy.ErrRefused, false},
		{&net.UnixAddr{Net: "unix"}, proxy.Use, proxy.ErrRefused, false}, // the policy is Local, not Default
		{nil, proxy.Use, proxy.ErrRefused, false},
	} {
		t.Run(fmt.Sprintf("%v %v", c.peer, c.def), func(t *testing.T) {
			tr := proxy.Transport{Inner: transport.TCP{}, Rules: rules, Default: c.def}
			a, b := net.Pipe()
			defer a.Close()
			go io.WriteString(b, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
			nc, err := tr.Handshake(context.Background(), addressed{a, c.peer})
			b.Close()
			if !errors.Is(err, c.want) {
				t.Fatalf("got error %v, want %v", err, c.want)
			}
			if err == nil && (nc.(*transport.Conn).Proxy() != nil) != c.believed {
				t.Errorf("got header %v, want it used %v", nc.(*transport.Conn).Proxy(), c.believed)
			}
		})
	}
}
