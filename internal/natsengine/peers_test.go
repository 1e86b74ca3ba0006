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
	addrs := interfaceAddrs
	defer func() { interfaceAddrs = addrs }()
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
		{"unknown addresses", "0.0.0.0:7600", []string{"192.0.2.1:7600", "192.0.2.2:7600"}, errors.ErrUnsupported,
			"whether 192.0.2.1:7600 is this node is unknown: unsupported operation; listen on the address that is in peers"},
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
