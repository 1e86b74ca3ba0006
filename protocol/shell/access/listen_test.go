package access

import (
	"errors"
	"net"
	"strings"
	"testing"

	"goranch/transport"
)

const (
	noProof   = "asks for no proof"
	inClear   = "in clear"
	needsTLS  = "without TLS there are no client certificates"
	anywhere  = "192.0.2.1"
	wildcard6 = "::"
)

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
		{ip("127.0.0.1"), Listen{}, ""},
		{ip("127.8.9.1"), Listen{}, ""},
		{ip("::1"), Listen{}, ""},
		{ip("::ffff:127.0.0.1"), Listen{}, ""},
		{&net.UnixAddr{Net: "unix", Name: "/run/a"}, Listen{}, ""},
		{mem, Listen{}, ""},

		{ip(anywhere), Listen{}, noProof},
		{ip("0.0.0.0"), Listen{}, noProof},
		{ip(wildcard6), Listen{}, noProof},
		{ip("10.0.0.1"), Listen{}, noProof}, // a private network is not this machine
		{ip("fe80::1"), Listen{}, noProof},
		{&net.TCPAddr{Port: 1}, Listen{}, noProof},
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, Listen{}, noProof},
		{nil, Listen{}, noProof},

		{ip(anywhere), Listen{Secure: true}, noProof},
		{ip(anywhere), Listen{Secure: true, PlainTokens: true}, noProof},
		{ip(anywhere), Listen{Secure: true, Tokens: true}, ""},
		{ip(anywhere), Listen{Secure: true, Certificates: true}, ""},
		{ip(anywhere), Listen{Tokens: true}, inClear},
		{ip(anywhere), Listen{Tokens: true, Certificates: true}, inClear},
		{ip(anywhere), Listen{Certificates: true}, needsTLS},
		{ip(anywhere), Listen{Certificates: true, PlainTokens: true}, needsTLS},
		{ip(anywhere), Listen{PlainTokens: true}, noProof},
		{ip(anywhere), Listen{Tokens: true, PlainTokens: true}, ""},

		{ip("127.0.0.1"), Listen{Proxied: true}, noProof},
		{&net.UnixAddr{Net: "unix", Name: "/run/a"}, Listen{Proxied: true, Tokens: true}, inClear},
		{mem, Listen{Proxied: true, Secure: true, Tokens: true}, ""},
	} {
		wantFault(t, CheckListen(c.addr, c.l), c.want, "%v, %+v", c.addr, c.l)
	}
}

func TestCheckAddress(t *testing.T) {
	for _, c := range []struct {
		addr string
		want string
	}{
		{"127.0.0.1:8080", ""}, {"[::1]:8080", ""}, {"localhost:8080", ""}, {"[::ffff:127.0.0.1]:80", ""}, {"unix:/run/a", ""},
		{":8080", noProof}, {"", noProof}, {"0.0.0.0:1", noProof}, {"[::]:1", noProof}, {"localhost.example:1", noProof},
		{"host:1", noProof}, {"127.0.0.1.example:1", noProof}, {"fd:3", noProof}, {"systemd:a", noProof},
	} {
		wantFault(t, CheckAddress(c.addr, Listen{}), c.want, "%q", c.addr)
		wantFault(t, CheckAddress(c.addr, Listen{Secure: true, Tokens: true}), "", "%q with TLS and tokens", c.addr)
	}
}

func wantFault(t *testing.T, err error, want, format string, args ...any) {
	t.Helper()
	if want == "" && err != nil || want != "" && (!errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), want)) {
		t.Errorf(format+": %v, want %q", append(args, err, want)...)
	}
}
