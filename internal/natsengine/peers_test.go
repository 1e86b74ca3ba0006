package natsengine

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOtherPeers(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	addrs, resolve := interfaceAddrs, lookup
	defer func() { interfaceAddrs, lookup = addrs, resolve }()
	lookup = func(host string) []net.IP {
		return map[string][]net.IP{
			"localhost": resolve("localhost"), "a.test": {net.IPv4(192, 0, 2, 1)}, "b.test": {net.IPv4(192, 0, 2, 2)}, "debian.test": {net.IPv4(127, 0, 1, 1)},
		}[host]
	}
	for _, c := range []struct {
		name, listen string
		peers        []string
		addrs        error  // of reading the addresses of this machine
		want         string // the others, or the error
	}{
		{"in the list", "10.0.0.1:7600", []string{"10.0.0.1:7600", "10.0.0.2:7600", "10.0.0.2:7600"}, errors.ErrUnsupported, "10.0.0.2:7600"},
		{"all addresses", "0.0.0.0:7600", []string{"192.0.2.1:7600", "192.0.2.2:7600"}, nil, "192.0.2.2:7600"},
		{"another port", "0.0.0.0:7600", []string{"192.0.2.1:7601", "192.0.2.2:7601"}, errors.ErrUnsupported, "192.0.2.1:7601 192.0.2.2:7601"},
		{"by name", "[::]:7600", []string{strings.ToUpper(host) + ":7600", "other.invalid:7600"}, errors.ErrUnsupported, "other.invalid:7600"},
		{"loopback", "127.0.0.1:7600", []string{"localhost:7600", "localhost:7601"}, errors.ErrUnsupported, "localhost:7601"},
		{"another loopback", "127.0.0.2:7600", []string{"localhost:7600", "127.0.0.2:7600"}, errors.ErrUnsupported, "localhost:7600"},
		{"name with an own address", "0.0.0.0:7600", []string{"a.test:7600", "b.test:7600", "unknown.test:7600"}, nil, "b.test:7600 unknown.test:7600"},
		{"name with the address of listen", "192.0.2.2:7600", []string{"b.test:7600", "a.test:7600"}, errors.ErrUnsupported, "a.test:7600"},
		{"name with an address of loopback", "192.0.2.2:7600", []string{"debian.test:7600", "192.0.2.3:7600"}, errors.ErrUnsupported, "192.0.2.3:7600"},
		{"unknown addresses", "0.0.0.0:7600", []string{"192.0.2.1:7600", "192.0.2.2:7600"}, errors.ErrUnsupported,
			"peer 192.0.2.1:7600: cannot find out whether it is this node: unsupported operation; listen on the address that is in peers"},
	} {
		interfaceAddrs = func() ([]net.Addr, error) {
			if c.addrs != nil {
				return nil, c.addrs
			}
			return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}}, nil
		}
		others, err := OtherPeers(c.listen, c.peers)
		got := strings.Join(others, " ")
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
