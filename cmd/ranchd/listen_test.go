package main

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/listenaddr"
)

func tcp(addr string) listenaddr.Addr  { return listenaddr.Addr{Network: "tcp", Address: addr} }
func unix(path string) listenaddr.Addr { return listenaddr.Addr{Network: "unix", Address: path} }

var goodAddresses = []struct {
	in   string
	want endpoint
}{
	{"tcp://127.0.0.1:8007", endpoint{Addr: tcp("127.0.0.1:8007")}},
	{"packet+tcp://127.0.0.1:8082", endpoint{Service: packetService, Addr: tcp("127.0.0.1:8082")}},
	{"packet+127.0.0.1:8082", endpoint{Service: packetService, Addr: tcp("127.0.0.1:8082")}},
	{"p=packet+tls://:1", endpoint{Name: "p", Service: packetService, TLS: true, Addr: tcp("127.0.0.1:1"), Defaulted: true}},
	{"packet+tls+unix:/p", endpoint{Service: packetService, TLS: true, Addr: unix("/p")}},
	{"127.0.0.1:8007", endpoint{Addr: tcp("127.0.0.1:8007")}},
	{"localhost:0", endpoint{Addr: tcp("localhost:0")}},
	{"tcp://example.org.:080", endpoint{Addr: tcp("example.org.:80")}},
	{"tls://0.0.0.0:443", endpoint{TLS: true, Addr: tcp("0.0.0.0:443")}},
	{"tls://[::]:443", endpoint{TLS: true, Addr: tcp("[::]:443")}},
	{"tcp://[0:0::1]:7", endpoint{Addr: tcp("[::1]:7")}},
	{"tcp://[fe80::1%eth0]:7", endpoint{Addr: tcp("[fe80::1%eth0]:7")}},
	{"tcp://:8007", endpoint{Addr: tcp("127.0.0.1:8007"), Defaulted: true}},
	{":8007", endpoint{Addr: tcp("127.0.0.1:8007"), Defaulted: true}},
	{"a=tls://:1", endpoint{Name: "a", TLS: true, Addr: tcp("127.0.0.1:1"), Defaulted: true}},
	{"my-Name_2.x=localhost:1", endpoint{Name: "my-Name_2.x", Addr: tcp("localhost:1")}},
	{"unix:///run/a.sock", endpoint{Addr: unix("/run/a.sock")}},
	{"unix:/run/a.sock", endpoint{Addr: unix("/run/a.sock")}},
	{"unix:/run/a=b,c.sock", endpoint{Addr: unix("/run/a=b,c.sock")}},
	{"n=unix:/run/a=b", endpoint{Name: "n", Addr: unix("/run/a=b")}},
	{"unix:////a", endpoint{Addr: unix("//a")}},
	{"tls+unix:///run/a.sock", endpoint{TLS: true, Addr: unix("/run/a.sock")}},
	{"tls+unix:/run/a.sock", endpoint{TLS: true, Addr: unix("/run/a.sock")}},
}

var inheritedAddresses = []struct {
	in   string
	want endpoint
}{
	{"fd:3", endpoint{Addr: listenaddr.Addr{Network: "fd", Address: "3"}}},
	{"a=fd://03", endpoint{Name: "a", Addr: listenaddr.Addr{Network: "fd", Address: "3"}}},
	{"tls+fd:4", endpoint{TLS: true, Addr: listenaddr.Addr{Network: "fd", Address: "4"}}},
	{"systemd:echo", endpoint{Addr: listenaddr.Addr{Network: "systemd", Address: "echo"}}},
	{"systemd://0", endpoint{Addr: listenaddr.Addr{Network: "systemd", Address: "0"}}},
	{"b=tls+systemd:echo.socket", endpoint{Name: "b", TLS: true, Addr: listenaddr.Addr{Network: "systemd", Address: "echo.socket"}}},
}

func TestParseEndpoint(t *testing.T) {
	good := slices.Clone(goodAddresses)
	if runtime.GOOS != "windows" {
		good = append(good, inheritedAddresses...)
	}
	if runtime.GOOS == "linux" {
		good = append(good, []struct {
			in   string
			want endpoint
		}{
			{"unix:@name", endpoint{Addr: unix("@name")}},
			{"x=tls+unix:@name", endpoint{Name: "x", TLS: true, Addr: unix("@name")}},
		}...)
	}
	for _, c := range good {
		t.Run(c.in, func(t *testing.T) {
			got, err := parseEndpoint(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

var badAddresses = []struct{ in, want string }{
	{"", "not host:port"},
	{"8007", "not host:port"},
	{"packet+", "not host:port"},
	{"packet+packet+tcp://a:1", `unknown scheme "packet+tcp"`},
	{"tcp://", "not host:port"},
	{"tcp://localhost", "not host:port"},
	{"tcp://localhost:", "not host:port"},
	{"tcp://::1:80", "[ipv6]:port"},
	{"tcp://localhost:http", "0 to 65535"},
	{"tcp://localhost:65536", "0 to 65535"},
	{"tcp://localhost:-1", "0 to 65535"},
	{"tcp://localhost:1/path", "0 to 65535"},
	{"tcp://*:80", "0.0.0.0 or [::]"},
	{"tcp://0:80", "looks like an IP address"}, // resolvers read it as 0.0.0.0
	{"tcp://0x0:80", "looks like an IP address"},
	{"tcp://0.0:80", "looks like an IP address"},
	{"tcp://127.0.0.1.1:80", "looks like an IP address"},
	{"tcp://256.0.0.1:80", "looks like an IP address"},
	{"tcp://a..b:80", "neither"},
	{"tcp://.:80", "neither"},
	{"tcp://user@host:80", "neither"},
	{"tls:443", "tls://host:port"}, // not a host named tls without TLS
	{"tcp:443", "tcp://host:port"},
	{"http://localhost:80", `unknown scheme "http"`},
	{"TCP://localhost:80", `unknown scheme "TCP"`},
	{"://localhost:80", "unknown scheme"},
	{"unix:", "absolute path"},
	{"unix://", "absolute path"},
	{"unix:run.sock", "absolute path"},
	{"unix://run/a.sock", "absolute path"},
	{"unix:@", "must follow"},
	{"unix:/" + strings.Repeat("a", 200), "at most"},
	{"unix:/a b", "space"},
	{"unix:/a\x00", "control"},
	{"fd:", "number of an open descriptor"},
	{"fd:-1", "number of an open descriptor"},
	{"systemd:", `"systemd:"`},
	{"tls+systemd:a:b", "without"},
	{"=tcp://:1", `name ""`},
	{"a b=tcp://:1", "space"},
	{"é=tcp://:1", "letters"},
	{strings.Repeat("a", 65) + "=tcp://:1", "1 to 64"},
}

func TestParseEndpointFaults(t *testing.T) {
	for _, c := range badAddresses {
		t.Run(c.in, func(t *testing.T) {
			got, err := parseEndpoint(c.in)
			if err == nil {
				t.Fatalf("got %+v, want an error", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q in it", err, c.want)
			}
		})
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, c := range goodAddresses {
		f.Add(c.in)
	}
	for _, c := range inheritedAddresses {
		f.Add(c.in)
	}
	for _, c := range badAddresses {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := parseEndpoint(in)
		if err != nil {
			if diff := cmp.Diff(endpoint{}, e); diff != "" {
				t.Errorf("endpoint with error %v: (-want +got):\n%s", err, diff)
			}
			return
		}
		if _, err := listenaddr.Parse(e.Addr.String()); err != nil {
			t.Errorf("%q: got %+v, which package transport refuses: %v", in, e, err)
		}
		if ip, ok := e.host(); ok && ip.Unmap().IsUnspecified() && !strings.Contains(in, "0.0.0.0") && !strings.Contains(in, "[") {
			t.Errorf("%q: got every interface %+v, want an explicit address for it", in, e)
		}
		if strings.HasPrefix(e.Addr.Address, ":") {
			t.Errorf("%q: got %+v without a host, want the default host", in, e)
		}
		again, err := parseEndpoint(e.String())
		if err != nil {
			t.Fatalf("text of %q: got %q, which is invalid: %v", in, e, err)
		}
		again.Defaulted = e.Defaulted // the text names the host
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("%q after String and parsing: (-want +got):\n%s", in, diff)
		}
	})
}

func TestNameEndpoints(t *testing.T) {
	all := []endpoint{
		{Addr: tcp("a:1")}, {Addr: tcp("a:2")}, {Name: "echo-tcp-2"}, {TLS: true, Addr: tcp("a:3")},
		{Addr: unix("/a")}, {TLS: true, Addr: unix("/b")}, {Name: "echo-unix"},
		{Addr: listenaddr.Addr{Network: "systemd", Address: "x"}}, {TLS: true, Addr: listenaddr.Addr{Network: "fd", Address: "3"}},
		{Service: packetService, Addr: tcp("a:4")}, {Service: packetService, TLS: true, Addr: unix("/c")},
	}
	nameEndpoints(all)
	var got []string
	for _, e := range all {
		got = append(got, e.Name)
	}
	want := []string{"echo-tcp", "echo-tcp-3", "echo-tcp-2", "echo-tls", "echo-unix-2", "echo-tls-unix", "echo-unix", "echo-systemd", "echo-tls-fd", "packet-tcp", "packet-tls-unix"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
