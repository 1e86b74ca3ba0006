package access

import (
	"fmt"
	"net"
	"net/netip"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// Listen is what a listener of a shell asks of its clients. The zero value asks nothing.
type Listen struct {
	// Secure is what the Secure method of the listener's transport returns.
	Secure bool
	// Proxied says that clients come by way of a proxy (transport/proxy), or are
	// forwarded from elsewhere. Then they are strangers wherever the listener is.
	Proxied bool
	// Tokens says that Guests are all that a client is without a token or a certificate.
	Tokens bool
	// Certificates says the same, and that the TLS configuration verifies clients' certificates.
	Certificates bool
	// PlainTokens accepts that tokens travel in clear, where whoever sees the packets can take
	// and use them; for networks which are encrypted below, such as WireGuard.
	PlainTokens bool
}

// CheckListen returns an error if a shell that changes things, by commands or programs,
// would be open to strangers at addr, the address that its listener is bound to. Unix
// sockets, addresses in the process and those of the loopback interface are reached from this
// machine only; others need TLS and client certificates or tokens. The error wraps [ErrExposed] and says what
// to configure.
//
// On a loopback address every user of this machine is let in that the Authenticator does not
// keep out: a Unix socket with [Peer] knows them.
func CheckListen(addr net.Addr, l Listen) error {
	name := ""
	if addr != nil {
		name = listenaddr.String(addr)
	}
	return l.check(name, local(addr))
}

// CheckAddress is [CheckListen] for an address that is still to be listened on. Of names of
// hosts only "localhost" counts as loopback, and inherited sockets ("fd:N", "systemd:NAME") as
// reachable from anywhere, for where they are bound is not known: use CheckListen for those.
func CheckAddress(addr string, l Listen) error {
	network, address, err := transport.ParseAddr(addr)
	if err != nil {
		return err
	}
	isLocal := network == "unix"
	if host, _, err := net.SplitHostPort(address); err == nil && network == "tcp" {
		ip, err := netip.ParseAddr(host)
		isLocal = host == "localhost" || err == nil && ip.Unmap().IsLoopback()
	}
	return l.check(addr, isLocal)
}

// local reports whether only this machine reaches addr. What it does not know it takes for reachable.
func local(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return addr != nil && addr.Network() == "mem"
}

func (l *Listen) check(addr string, local bool) error {
	fault := func(why string) error { return fmt.Errorf("listen on %q: %w: %s", addr, ErrExposed, why) }
	switch {
	case local && !l.Proxied:
		return nil
	case l.Secure && (l.Tokens || l.Certificates):
		return nil
	case l.Secure:
		return fault("it can be reached from other hosts, and asks for no proof; configure tokens or client certificates, or listen on a loopback address or a Unix socket")
	case l.Tokens && l.PlainTokens:
		return nil
	case l.Tokens:
		return fault("tokens would travel in clear; use TLS, or listen on a loopback address or a Unix socket, or accept it by setting PlainTokens")
	case l.Certificates:
		return fault("without TLS there are no client certificates; use TLS, or listen on a loopback address or a Unix socket")
	}
	return fault("it can be reached from other hosts, and asks for no proof; use TLS with tokens or client certificates, or listen on a loopback address or a Unix socket")
}
