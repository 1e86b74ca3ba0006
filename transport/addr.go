package transport

import "goranch/internal/listenaddr"

// ParseAddr reads an address as Listen of [TCP] does: "host:port", "unix:/path", "unix:@abstract",
// "fd:N" or "systemd:NAME". The empty string is ":0": all addresses of this machine, with a free
// port. network is "tcp", "unix", "fd" or "systemd", and address is what follows the colon of a
// scheme, or "host:port". Names of hosts and ports and inherited sockets are not looked up. Errors
// wrap [ErrBadAddr], or errors.ErrUnsupported for a form that this system does not have.
func ParseAddr(s string) (network, address string, err error) {
	a, err := listenaddr.Parse(s)
	return a.Network, a.Address, err
}
