// Package remoteip returns the address by which a client is counted: every limit and every table
// per source address uses this key.
//
// The key is an IPv4 address, mapped into IPv6 or not, or the /64 network of an IPv6 address,
// without zone and port: a client usually controls a whole /64. Unix sockets and connections
// within the process have no key. Most Unix clients have no name, so one of them would be
// counted for all others, and the mode of the socket file decides who may connect.
package remoteip

import (
	"net"
	"net/netip"
)

// Of returns the IP address in addr: IPv4 as such and without a zone. The result is the zero
// Addr if addr is nil or holds no IP address.
func Of(addr net.Addr) netip.Addr { return AddrPort(addr).Addr() }

// AddrPort returns the IP address in addr, as Of does, with its port.
func AddrPort(addr net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := addr.(type) {
	case nil:
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UnixAddr: // its name may look like an address
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// Key returns the key of addr: its IPv4 address, or the first address of the /64 of its IPv6
// address. The result is the zero Addr if addr is not counted.
func Key(addr net.Addr) netip.Addr {
	ip := Of(addr)
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		return p.Addr()
	}
	return ip
}
