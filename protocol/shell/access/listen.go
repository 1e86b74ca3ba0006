package access

import (
	"fmt"
	"net"
	"net/netip"

	"goranch/internal/listenaddr"
)

// Listen describes a listener of a shell to [CheckListen]. The zero value is plain TCP without
// authentication.
type Listen struct {
	// Secure is the result of the Secure method of the listener's transport.
	Secure bool
	// Proxied is whether clients connect through a proxy (transport/proxy) or a forwarded port.
	// They can be on other hosts even if the listener is local.
	Proxied bool
	// Tokens is whether clients without a token or certificate are Guests.
	Tokens bool
	// Certificates is the same, where the TLS configuration verifies client certificates.
	Certificates bool
	// PlainTokens accepts tokens on unencrypted connections, where an eavesdropper can copy them.
	// It is meant for networks with their own encryption, such as WireGuard.
	PlainTokens bool
}

// CheckListen returns an error, with what to configure, if unauthenticated clients of other hosts
// could use a shell at the address. It is meant for shells with commands or programs that change
// something. network and address are the results of [transport.ParseAddr] before listening, or the
// Network and String of the listener's net.Addr. Local are Unix sockets, in-memory and loopback
// addresses and the host name "localhost". Inherited sockets ("fd", "systemd") count as reachable,
// because their address is unknown until the listener exists. On a loopback address every local
// user that the Authenticator admits has access; a Unix socket with [Peer] identifies them.
func CheckListen(network, address string, l Listen) error {
	local := isLocal(network, address)
	fault := func(why string) error {
		return fmt.Errorf("listen on %q: unauthenticated access to the shell: %s", listenaddr.Addr{Network: network, Address: address}, why)
	}
	switch {
	case local && !l.Proxied:
		return nil
	case l.Secure && (l.Tokens || l.Certificates):
		return nil
	case l.Secure:
		return fault("other hosts can reach it without authentication; configure tokens or client certificates, or listen on a loopback address or a Unix socket")
	case l.Tokens && l.PlainTokens:
		return nil
	case l.Tokens:
		return fault("tokens would be sent unencrypted; use TLS, or listen on a loopback address or a Unix socket, or set PlainTokens to accept it")
	case l.Certificates:
		return fault("client certificates require TLS; use TLS, or listen on a loopback address or a Unix socket")
	}
	return fault("other hosts can reach it without authentication; use TLS with tokens or client certificates, or listen on a loopback address or a Unix socket")
}

// isLocal reports whether only this host can connect to the address. Unknown networks are not
// local.
func isLocal(network, address string) bool {
	switch network {
	case "unix", "mem":
		return true
	case "tcp":
	default:
		return false
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
