package remoteip

import (
	"net"
	"testing"
)

type named string

func (named) Network() string  { return "other" }
func (a named) String() string { return string(a) }

func TestKey(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for name, c := range map[string]struct {
		addr    net.Addr
		of, key string
	}{
		"nil":       {nil, "invalid IP", "invalid IP"},
		"IPv4":      {tcp("192.0.2.7:80"), "192.0.2.7", "192.0.2.7"},
		"mapped":    {tcp("[::ffff:192.0.2.7]:80"), "192.0.2.7", "192.0.2.7"},
		"IPv6":      {tcp("[2001:db8:1:2:3::4]:80"), "2001:db8:1:2:3::4", "2001:db8:1:2::"},
		"zone":      {&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1", "fe80::"},
		"Unix":      {&net.UnixAddr{Name: "192.0.2.7:80", Net: "unix"}, "invalid IP", "invalid IP"},
		"other":     {named("192.0.2.7:80"), "192.0.2.7", "192.0.2.7"},
		"no IP":     {named("pipe"), "invalid IP", "invalid IP"},
		"zero addr": {&net.TCPAddr{}, "invalid IP", "invalid IP"},
		"nil TCP":   {(*net.TCPAddr)(nil), "invalid IP", "invalid IP"},
		"UDP":       {&net.UDPAddr{IP: net.ParseIP("192.0.2.7"), Port: 1}, "192.0.2.7", "192.0.2.7"},
		"loopback":  {tcp("[::1]:80"), "::1", "::"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Of(c.addr).String(); got != c.of {
				t.Errorf("Of: got %s, want %s", got, c.of)
			}
			if got := Key(c.addr).String(); got != c.key {
				t.Errorf("Key: got %s, want %s", got, c.key)
			}
		})
	}
}
