package admin

import (
	"net"
	"net/netip"

	"goranch/conns/netrules"
)

// parseNetwork reads a network, or an IP address, of which it ignores the zone.
func parseNetwork(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		s = a.WithZone("").String()
	}
	p, err := netrules.ParseNetwork(s)
	return p, err == nil
}

// ipOf returns the IP address and port of a, or the zero value if it has none.
func ipOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmap(t.AddrPort())
	}
	return netip.AddrPort{}
}

// unmap turns an IPv4-mapped IPv6 address into IPv4 and removes the zone.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
