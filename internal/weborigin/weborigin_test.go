package weborigin_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"

	"goranch/internal/weborigin"
)

func Example() {
	for _, host := range []string{"localhost:8084", "127.0.0.1", "rebound.example.org:8084"} {
		fmt.Println(host, weborigin.IsLoopback(host))
	}
	// Output:
	// localhost:8084 true
	// 127.0.0.1 true
	// rebound.example.org:8084 false
}

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		host              string
		loopback, address bool
	}{
		{"localhost", true, false}, {"LOCALHOST.:80", true, false}, {"localhost.example.org", false, false},
		{"127.0.0.1:1", true, true}, {"127.9.9.9", true, true}, {"[::1]:1", true, true}, {"::1", true, true}, {"[::1]", true, true},
		{"10.0.0.1:80", false, true}, {"[fe80::1%eth0]:80", false, true}, {"127.0.0.1.example.org", false, false}, {"", false, false},
		{"127.1", false, false}, {"2130706433", false, false},
	} {
		if got := weborigin.IsLoopback(tt.host); got != tt.loopback {
			t.Errorf("IsLoopback(%q): got %v, want %v", tt.host, got, tt.loopback)
		}
		if got := weborigin.IsAddress(tt.host); got != tt.address {
			t.Errorf("IsAddress(%q): got %v, want %v", tt.host, got, tt.address)
		}
	}
}

func TestSameHost(t *testing.T) {
	for _, tt := range []struct {
		origin, host string
		want         bool
	}{
		{"http://a.org", "a.org", true}, {"http://a.org", "A.org:80", true}, {"https://a.org", "a.org:443", true},
		{"http://a.org:8084", "a.org:8084", true}, {"http://a.org:8084", "a.org", true}, {"http://a.org:8084", "a.org:8083", false},
		{"http://b.org", "a.org", false}, {"http://[::1]:1", "[::1]:1", true}, {"http://a.org", "", false}, {"null", "null", false},
	} {
		u, err := url.Parse(tt.origin)
		if err != nil {
			t.Fatal(err)
		}
		if got := weborigin.SameHost(u, tt.host); got != tt.want {
			t.Errorf("SameHost(%q, %q): got %v, want %v", tt.origin, tt.host, got, tt.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, host string
		want          bool
	}{
		{"*", "", true}, {"*", "a.org", true}, {"a.org", "a.org", true}, {"A.org", "a.ORG:443", true}, {"a.org", "a.org:80", true},
		{"a.org", "a.org:8084", false}, {"a.org:8084", "a.org:8084", true}, {"*.a.org", "x.a.org", true}, {"*.a.org", "a.org", false},
		{"", "", false},
	} {
		if got := weborigin.Matches([]string{"other.example.org", tt.pattern}, tt.host); got != tt.want {
			t.Errorf("Matches(%q, %q): got %v, want %v", tt.pattern, tt.host, got, tt.want)
		}
	}
	for p, want := range map[string]bool{"a.org": true, "*.a.org:1": true, "http://a.org": false, "[": false} {
		if got := weborigin.IsPattern(p); got != want {
			t.Errorf("IsPattern(%q): got %v, want %v", p, got, want)
		}
	}
}

func TestOnLoopback(t *testing.T) {
	for addr, want := range map[net.Addr]bool{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}: true, &net.TCPAddr{IP: net.IPv6loopback}: true,
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}: false, &net.UnixAddr{Name: "/run/x.sock"}: false,
	} {
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr), "GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := weborigin.OnLoopback(r); got != want {
			t.Errorf("OnLoopback(%v): got %v, want %v", addr, got, want)
		}
	}
	r, _ := http.NewRequest("GET", "/", nil)
	if weborigin.OnLoopback(r) {
		t.Error("OnLoopback without an address: got true, want false")
	}
}

// No pattern and no host makes a check panic, and a host never matches the empty pattern list.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"a.org:80", "[::1]:1", "[", "*", "a/b", "\x00", "%zz"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, pattern, host string) {
		weborigin.Matches([]string{pattern}, host)
		weborigin.IsPattern(pattern)
		if weborigin.IsLoopback(host) && weborigin.Matches(nil, host) {
			t.Errorf("Matches(nil, %q): got true, want false", host)
		}
	})
}
