package transport_test

import (
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/transport"
)

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]transport.Addr{
		"":                          {Network: "tcp", Address: ":0"},
		":0":                        {Network: "tcp", Address: ":0"},
		":80":                       {Network: "tcp", Address: ":80"},
		":http":                     {Network: "tcp", Address: ":http"},
		"127.0.0.1:80":              {Network: "tcp", Address: "127.0.0.1:80"},
		"[::1]:80":                  {Network: "tcp", Address: "[::1]:80"},
		"[fe80::1%eth0]:80":         {Network: "tcp", Address: "[fe80::1%eth0]:80"},
		"[fd::1]:80":                {Network: "tcp", Address: "[fd::1]:80"}, // no scheme
		"example.com:443":           {Network: "tcp", Address: "example.com:443"},
		"unix:/run/x":               {Network: "unix", Address: "/run/x"},
		"unix:relative":             {Network: "unix", Address: "relative"},
		"unix:80":                   {Network: "unix", Address: "80"},
		"unix:/a:b":                 {Network: "unix", Address: "/a:b"},
		"unix:/" + repeat('x', 100): {Network: "unix", Address: "/" + repeat('x', 100)},
	} {
		got, err := transport.ParseAddr(in)
		if err != nil {
			t.Errorf("ParseAddr(%q): %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseAddr(%q): -want +got\n%s", in, diff)
		}
		if again, err := transport.ParseAddr(got.String()); err != nil || again != got {
			t.Errorf("%q does not come back from %q: %v, %v", in, got.String(), again, err)
		}
	}
}

func TestParseAddrRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"80":                          transport.ErrBadAddr,
		"localhost":                   transport.ErrBadAddr,
		"localhost:":                  transport.ErrBadAddr,
		":":                           transport.ErrBadAddr,
		"::1:80":                      transport.ErrBadAddr,
		"[::1]":                       transport.ErrBadAddr,
		"[::1:80":                     transport.ErrBadAddr,
		"a:b:c":                       transport.ErrBadAddr,
		"unix":                        transport.ErrBadAddr,
		"unix:":                       transport.ErrBadAddr,
		"unix:@":                      transport.ErrBadAddr,
		"unix:/a\x00b":                transport.ErrBadAddr,
		"unix:@a\x00b":                transport.ErrBadAddr,
		"unix:/" + repeat('x', 107):   transport.ErrBadAddr,
		"unix:/" + repeat('x', 9999):  transport.ErrBadAddr,
		"fd:":                         transport.ErrBadAddr,
		"fd:-1":                       transport.ErrBadAddr,
		"fd:x":                        transport.ErrBadAddr,
		"fd:3:4":                      transport.ErrBadAddr,
		"fd:2147483648":               transport.ErrBadAddr,
		"systemd:":                    transport.ErrBadAddr,
		"systemd:a:b":                 transport.ErrBadAddr,
		"systemd:a\nb":                transport.ErrBadAddr,
		"systemd:ä":                   transport.ErrBadAddr,
		"systemd:" + repeat('x', 256): transport.ErrBadAddr,
	} {
		got, err := transport.ParseAddr(in)
		if !errors.Is(err, want) {
			t.Errorf("ParseAddr(%q) = %v, %v; want %v", in, got, err, want)
			continue
		}
		if !strings.Contains(err.Error(), strconv.Quote(in)) {
			t.Errorf("ParseAddr(%q) does not name the address: %v", in, err)
		}
		if got != (transport.Addr{}) {
			t.Errorf("ParseAddr(%q) returns %v with an error", in, got)
		}
	}
}

func TestParseAddrAbstract(t *testing.T) {
	a, err := transport.ParseAddr("unix:@name")
	if runtime.GOOS != "linux" {
		wantIs(t, err, errors.ErrUnsupported)
		return
	}
	if want := (transport.Addr{Network: "unix", Address: "@name"}); err != nil || a != want {
		t.Errorf("got %v, %v, want %v", a, err, want)
	}
}

func TestParseAddrInherited(t *testing.T) {
	for in, want := range map[string]transport.Addr{
		"fd:0":         {Network: "fd", Address: "0"},
		"fd:03":        {Network: "fd", Address: "3"},
		"systemd:web":  {Network: "systemd", Address: "web"},
		"systemd:a.b ": {Network: "systemd", Address: "a.b "},
		"systemd:1":    {Network: "systemd", Address: "1"},
	} {
		a, err := transport.ParseAddr(in)
		if runtime.GOOS == "windows" {
			wantIs(t, err, errors.ErrUnsupported)
			continue
		}
		if err != nil || a != want || !a.Inherited() {
			t.Errorf("ParseAddr(%q) = %+v, %v", in, a, err)
		}
		if _, err := (transport.TCP{}).Dial(t.Context(), in); !errors.Is(err, transport.ErrBadAddr) {
			t.Errorf("dialling %q: %v", in, err)
		}
	}
}

func TestAddrString(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, "127.0.0.1:80"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 80}, "[::1]:80"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 80}, "[fe80::1%eth0]:80"},
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 80}, "[::]:80"},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, "unix:/run/x"},
		{&net.UnixAddr{Name: "@name", Net: "unix"}, "unix:@name"},
	} {
		if got := transport.AddrString(tt.addr); got != tt.want {
			t.Errorf("AddrString(%v) = %q, want %q", tt.addr, got, tt.want)
		}
	}
}

// What a listener is bound to can be listened on again: that is how a suspended
// listener comes back on the port that was chosen for it.
func TestAddrStringListensAgain(t *testing.T) {
	addrs := []string{"127.0.0.1:0", "[::1]:0", socketPath(t)}
	if runtime.GOOS == "linux" {
		addrs = append(addrs, abstractName())
	}
	for _, addr := range addrs {
		var tcp transport.TCP
		ln := listen(t, tcp, addr)
		bound := transport.AddrString(ln.Addr())
		ln.Close()
		again := listen(t, tcp, bound)
		if got := transport.AddrString(again.Addr()); got != bound {
			t.Errorf("listened on %q: first %q, then %q", addr, bound, got)
		}
		again.Close()
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{
		"", ":0", ":80", "80", "localhost", "localhost:", "127.0.0.1:http", "[::1]:80", "[fe80::1%eth0]:80", "[::1", "::",
		"unix:", "unix:@", "unix:@x", "unix:/x", "unix:x:y", "unix:/a\x00b", "unix:/" + repeat('x', 107), "unix:/" + repeat('x', 106),
		"fd:3", "fd:03", "fd:-1", "fd:", "systemd:web", "systemd:0", "systemd:", "systemd:a:b", "UNIX:/x", "]:1", "a]b:1", "%:1", "\xff:\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := transport.ParseAddr(s)
		if err != nil {
			if !errors.Is(err, transport.ErrBadAddr) && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatalf("an error of no known kind: %v", err)
			}
			if a != (transport.Addr{}) {
				t.Fatalf("%v with error %v", a, err)
			}
			return
		}
		again, err := transport.ParseAddr(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %+v; its String %q is %+v, %v", s, a, a.String(), again, err)
		}
		switch a.Network {
		case "tcp":
			if _, port, err := net.SplitHostPort(a.Address); err != nil || port == "" {
				t.Fatalf("%q: no port in %q: %v", s, a.Address, err)
			}
		case "unix":
			if got := transport.AddrString(&net.UnixAddr{Name: a.Address, Net: "unix"}); got != s {
				t.Fatalf("AddrString gives %q for what %q was parsed to", got, s)
			}
			if strings.ContainsRune(a.Address, 0) || a.Address == "" || a.Address == "@" {
				t.Fatalf("%q: no name for a socket", a.Address)
			}
		case "fd":
			if n, err := strconv.Atoi(a.Address); err != nil || n < 0 || !a.Inherited() {
				t.Fatalf("%q: no descriptor: %+v", s, a)
			}
		case "systemd":
			if !a.Inherited() || a.Address == "" || strings.Contains(a.Address, ":") {
				t.Fatalf("%q: no name: %+v", s, a)
			}
		default:
			t.Fatalf("%q: network %q", s, a.Network)
		}
	})
}

func repeat(b byte, n int) string { return strings.Repeat(string(b), n) }
