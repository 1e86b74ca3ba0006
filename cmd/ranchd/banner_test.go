package main

import (
	"net"
	"testing"
)

func TestTryPacketCommand(t *testing.T) {
	const call = `printf '\0\0\0\050{"jsonrpc":"2.0","method":"time","id":1}'`
	if n := len(`{"jsonrpc":"2.0","method":"time","id":1}`); n != 0o50 {
		t.Errorf("length of the call: got %#o, want %#o", n, 0o50)
	}
	for _, c := range []struct {
		tls   bool
		bound net.Addr
		want  string
	}{
		{false, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8082}, call + " | nc -N 127.0.0.1 8082"},
		{false, &net.UnixAddr{Name: "/p"}, call + " | nc -N -U /p"},
		{true, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8082}, "(" + call + "; sleep 1) | openssl s_client -quiet -no_ign_eof -connect 127.0.0.1:8082"},
		{true, &net.UnixAddr{Name: "@p"}, "# common clients do not support TLS on an abstract socket"},
	} {
		if got := tryCommand(endpoint{Service: packetService, TLS: c.tls}, c.bound); got != c.want {
			t.Errorf("%v: got\n%s\nwant\n%s", c.bound, got, c.want)
		}
	}
}

func TestTryCommand(t *testing.T) {
	for _, c := range []struct {
		tls   bool
		bound net.Addr
		want  string
	}{
		{false, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8007}, "printf hello | nc -N 127.0.0.1 8007"},
		{false, &net.TCPAddr{IP: net.IPv4zero, Port: 7}, "printf hello | nc -N 127.0.0.1 7"},
		{false, &net.TCPAddr{IP: net.IPv6unspecified, Port: 7}, "printf hello | nc -N ::1 7"},
		{false, &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 7}, "printf hello | nc -N fe80::1%eth0 7"},
		{true, &net.TCPAddr{IP: net.IPv6loopback, Port: 7}, "openssl s_client -quiet -connect '[::1]:7'  # then type a line"},
		{false, &net.UnixAddr{Name: "/run/a.sock"}, "printf hello | nc -N -U /run/a.sock"},
		{false, &net.UnixAddr{Name: "/run/it's;.sock"}, `printf hello | nc -N -U '/run/it'\''s;.sock'`},
		{false, &net.UnixAddr{Name: "@name"}, "printf hello | nc -N -U @name"},
		{true, &net.UnixAddr{Name: "/run/a.sock"}, "openssl s_client -quiet -unix /run/a.sock  # then type a line"},
		{true, &net.UnixAddr{Name: "@name"}, "# common clients do not support TLS on an abstract socket"},
	} {
		if got := tryCommand(endpoint{TLS: c.tls}, c.bound); got != c.want {
			t.Errorf("%v: got\n%s\nwant\n%s", c.bound, got, c.want)
		}
	}
}
