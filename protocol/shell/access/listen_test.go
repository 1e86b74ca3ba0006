package access

import (
	"net"
	"strings"
	"testing"

	"goranch/transport"
)

const (
	unauthenticated = "without authentication"
	unencrypted     = "unencrypted"
	needsTLS        = "client certificates require TLS"
	anywhere        = "192.0.2.1"
	wildcard6       = "::"
)

// Addresses of listeners.
func TestCheckListen(t *testing.T) {
	ln, err := new(transport.Mem).Listen(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mem := ln.Addr()
	for _, c := range []struct {
		addr net.Addr
		l    Listen
		want string // "": allowed
	}{
		{tcpAddr("127.0.0.1"), Listen{}, ""},
		{tcpAddr("127.8.9.1"), Listen{}, ""},
		{tcpAddr("::1"), Listen{}, ""},
		{tcpAddr("::ffff:127.0.0.1"), Listen{}, ""},
		{&net.UnixAddr{Net: "unix", Name: "/run/a"}, Listen{}, ""},
		{mem, Listen{}, ""},

		{tcpAddr(anywhere), Listen{}, unauthenticated},
		{tcpAddr("0.0.0.0"), Listen{}, unauthenticated},
		{tcpAddr(wildcard6), Listen{}, unauthenticated},
		{tcpAddr("10.0.0.1"), Listen{}, unauthenticated}, // private networks have other hosts
		{tcpAddr("fe80::1"), Listen{}, unauthenticated},
		{&net.TCPAddr{Port: 1}, Listen{}, unauthenticated},
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, Listen{}, unauthenticated},

		{tcpAddr(anywhere), Listen{Secure: true}, unauthenticated},
		{tcpAddr(anywhere), Listen{Secure: true, PlainTokens: true}, unauthenticated},
		{tcpAddr(anywhere), Listen{Secure: true, Tokens: true}, ""},
		{tcpAddr(anywhere), Listen{Secure: true, Certificates: true}, ""},
		{tcpAddr(anywhere), Listen{Tokens: true}, unencrypted},
		{tcpAddr(anywhere), Listen{Tokens: true, Certificates: true}, unencrypted},
		{tcpAddr(anywhere), Listen{Certificates: true}, needsTLS},
		{tcpAddr(anywhere), Listen{Certificates: true, PlainTokens: true}, needsTLS},
		{tcpAddr(anywhere), Listen{PlainTokens: true}, unauthenticated},
		{tcpAddr(anywhere), Listen{Tokens: true, PlainTokens: true}, ""},

		{tcpAddr("127.0.0.1"), Listen{Proxied: true}, unauthenticated},
		{&net.UnixAddr{Net: "unix", Name: "/run/a"}, Listen{Proxied: true, Tokens: true}, unencrypted},
		{mem, Listen{Proxied: true, Secure: true, Tokens: true}, ""},
	} {
		wantFault(t, CheckListen(c.addr.Network(), c.addr.String(), c.l), c.want, "%v, %+v", c.addr, c.l)
	}
	wantFault(t, CheckListen("", "", Listen{}), unauthenticated, "no address")
}

// Addresses of options, before there is a listener.
func TestCheckListenBeforeListening(t *testing.T) {
	for _, c := range []struct {
		addr string
		want string
	}{
		{"127.0.0.1:8080", ""}, {"[::1]:8080", ""}, {"localhost:8080", ""}, {"[::ffff:127.0.0.1]:80", ""}, {"unix:/run/a", ""},
		{":8080", unauthenticated}, {"", unauthenticated}, {"0.0.0.0:1", unauthenticated}, {"[::]:1", unauthenticated}, {"localhost.example:1", unauthenticated},
		{"host:1", unauthenticated}, {"127.0.0.1.example:1", unauthenticated}, {"fd:3", unauthenticated}, {"systemd:a", unauthenticated},
	} {
		network, address, err := transport.ParseAddr(c.addr)
		if err != nil {
			t.Fatal(err)
		}
		wantFault(t, CheckListen(network, address, Listen{}), c.want, "%q", c.addr)
		wantFault(t, CheckListen(network, address, Listen{Secure: true, Tokens: true}), "", "%q with TLS and tokens", c.addr)
	}
}

// wantFault reports an error unless err contains want, or is nil if want is empty.
func wantFault(t *testing.T, err error, want, format string, args ...any) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf(format+": got error %v, want %q", append(args, err, want)...)
	}
}
