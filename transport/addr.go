package transport

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// ErrBadAddr is wrapped by the error for an address that has none of the known forms.
var ErrBadAddr = errors.New("bad address")

// Addr is an address taken apart: a network of package net, and the address on it.
type Addr struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", "/path" or "@abstract"
}

// String returns the form that [ParseAddr] reads.
func (a Addr) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}

// ParseAddr reads "host:port", "unix:/path" and "unix:@abstract". The empty string is
// ":0": every address of the machine, a free port. Port names are looked up when
// listening, not here.
func ParseAddr(s string) (Addr, error) {
	if s == "" {
		s = ":0"
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "unix":
		return parseUnix(s, rest)
	case "fd", "systemd":
		return Addr{}, fmt.Errorf("address %q: inherited sockets: %w", s, errors.ErrUnsupported)
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return Addr{}, fmt.Errorf("address %q: %w: use \"host:port\", \"[ipv6]:port\", \"unix:/path\" or \"unix:@name\"", s, ErrBadAddr)
	}
	return Addr{Network: "tcp", Address: s}, nil
}

func parseUnix(s, path string) (Addr, error) {
	switch {
	case path == "" || path == "@":
		return Addr{}, fmt.Errorf("address %q: %w: a path or @name must follow \"unix:\"", s, ErrBadAddr)
	case strings.ContainsRune(path, 0):
		return Addr{}, fmt.Errorf("address %q: %w: it contains a zero byte", s, ErrBadAddr)
	case len(path) > maxUnixPath:
		return Addr{}, fmt.Errorf("address %q: %w: %d bytes, a Unix socket's name has at most %d", s, ErrBadAddr, len(path), maxUnixPath)
	case path[0] == '@' && !abstractSockets:
		return Addr{}, fmt.Errorf("address %q: abstract Unix sockets: %w", s, errors.ErrUnsupported)
	}
	return Addr{Network: "unix", Address: path}, nil
}

// AddrString returns an address that a listener is bound to in the form that Listen
// takes, so that the same place can be listened on again.
func AddrString(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		return "unix:" + u.Name
	}
	return a.String()
}
