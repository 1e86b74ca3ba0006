package listenaddr_test

import (
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/listenaddr"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]listenaddr.Addr{
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
		got, err := listenaddr.Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): got %v, want no error", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", in, diff)
		}
		if again, err := listenaddr.Parse(got.String()); err != nil || again != got {
			t.Errorf("Parse(%q): got %v, %v, want %v", got.String(), again, err, got)
		}
	}
}

func TestParseFaults(t *testing.T) {
	for in, want := range map[string]error{
		"80":                          listenaddr.ErrBad,
		"localhost":                   listenaddr.ErrBad,
		"localhost:":                  listenaddr.ErrBad,
		":":                           listenaddr.ErrBad,
		"::1:80":                      listenaddr.ErrBad,
		"[::1]":                       listenaddr.ErrBad,
		"[::1:80":                     listenaddr.ErrBad,
		"a:b:c":                       listenaddr.ErrBad,
		"unix":                        listenaddr.ErrBad,
		"unix:":                       listenaddr.ErrBad,
		"unix:@":                      listenaddr.ErrBad,
		"unix:/a\x00b":                listenaddr.ErrBad,
		"unix:@a\x00b":                listenaddr.ErrBad,
		"unix:/" + repeat('x', 107):   listenaddr.ErrBad,
		"unix:/" + repeat('x', 9999):  listenaddr.ErrBad,
		"fd:":                         listenaddr.ErrBad,
		"fd:-1":                       listenaddr.ErrBad,
		"fd:x":                        listenaddr.ErrBad,
		"fd:3:4":                      listenaddr.ErrBad,
		"fd:2147483648":               listenaddr.ErrBad,
		"systemd:":                    listenaddr.ErrBad,
		"systemd:a:b":                 listenaddr.ErrBad,
		"systemd:a\nb":                listenaddr.ErrBad,
		"systemd:ä":                   listenaddr.ErrBad,
		"systemd:" + repeat('x', 256): listenaddr.ErrBad,
	} {
		got, err := listenaddr.Parse(in)
		if !errors.Is(err, want) {
			t.Errorf("Parse(%q): got %v, %v, want %v", in, got, err, want)
			continue
		}
		if !strings.Contains(err.Error(), strconv.Quote(in)) {
			t.Errorf("Parse(%q): got %v, want an error that contains the address", in, err)
		}
		if got != (listenaddr.Addr{}) {
			t.Errorf("Parse(%q): got %v with an error, want the zero Addr", in, got)
		}
	}
}

func TestParseAbstract(t *testing.T) {
	a, err := listenaddr.Parse("unix:@name")
	if runtime.GOOS != "linux" {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v, want ErrUnsupported", err)
		}
		return
	}
	if want := (listenaddr.Addr{Network: "unix", Address: "@name"}); err != nil || a != want {
		t.Errorf("got %v, %v, want %v", a, err, want)
	}
}

func TestParseInherited(t *testing.T) {
	for in, want := range map[string]listenaddr.Addr{
		"fd:0":         {Network: "fd", Address: "0"},
		"fd:03":        {Network: "fd", Address: "3"},
		"systemd:web":  {Network: "systemd", Address: "web"},
		"systemd:a.b ": {Network: "systemd", Address: "a.b "},
		"systemd:1":    {Network: "systemd", Address: "1"},
	} {
		a, err := listenaddr.Parse(in)
		if runtime.GOOS == "windows" {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("got %v, want ErrUnsupported", err)
			}
			continue
		}
		if err != nil || a != want || !a.Inherited() {
			t.Errorf("Parse(%q): got %+v, %v, want %+v, inherited", in, a, err, want)
		}
	}
}

func TestString(t *testing.T) {
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
		if got := listenaddr.String(tt.addr); got != tt.want {
			t.Errorf("String(%v): got %q, want %q", tt.addr, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", ":0", ":80", "80", "localhost", "localhost:", "127.0.0.1:http", "[::1]:80", "[fe80::1%eth0]:80", "[::1", "::",
		"unix:", "unix:@", "unix:@x", "unix:/x", "unix:x:y", "unix:/a\x00b", "unix:/" + repeat('x', 107), "unix:/" + repeat('x', 106),
		"fd:3", "fd:03", "fd:-1", "fd:", "systemd:web", "systemd:0", "systemd:", "systemd:a:b", "UNIX:/x", "]:1", "a]b:1", "%:1", "\xff:\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := listenaddr.Parse(s)
		if err != nil {
			if !errors.Is(err, listenaddr.ErrBad) && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatalf("got error %v, want ErrBad or ErrUnsupported", err)
			}
			if a != (listenaddr.Addr{}) {
				t.Fatalf("got %v with error %v, want the zero Addr", a, err)
			}
			return
		}
		again, err := listenaddr.Parse(a.String())
		if err != nil || again != a {
			t.Fatalf("Parse(%q): got %+v, %v, want %+v", a.String(), again, err, a)
		}
		switch a.Network {
		case "tcp":
			if _, port, err := net.SplitHostPort(a.Address); err != nil || port == "" {
				t.Fatalf("%q: got address %q, %v, want one with a port", s, a.Address, err)
			}
		case "unix":
			if got := listenaddr.String(&net.UnixAddr{Name: a.Address, Net: "unix"}); got != s {
				t.Fatalf("String: got %q, want %q", got, s)
			}
			if strings.ContainsRune(a.Address, 0) || a.Address == "" || a.Address == "@" {
				t.Fatalf("got address %q, want the name of a socket", a.Address)
			}
		case "fd":
			if n, err := strconv.Atoi(a.Address); err != nil || n < 0 || !a.Inherited() {
				t.Fatalf("%q: got %+v, want a descriptor", s, a)
			}
		case "systemd":
			if !a.Inherited() || a.Address == "" || strings.Contains(a.Address, ":") {
				t.Fatalf("%q: got %+v, want a name", s, a)
			}
		default:
			t.Fatalf("%q: got network %q, want tcp, unix, fd or systemd", s, a.Network)
		}
	})
}

func repeat(b byte, n int) string { return strings.Repeat(string(b), n) }
