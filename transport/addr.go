package transport

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ErrBadAddr is wrapped by the error for an address that has none of the known forms.
var ErrBadAddr = errors.New("bad address")

// Addr is an address taken apart: a network of package net, and the address on it.
type Addr struct {
	Network string // "tcp", "unix", "fd" or "systemd"
	Address string // "host:port", "/path" or "@abstract", a descriptor's number, a name
}

// Inherited reports whether the address is a socket that this process was started with:
// "fd:N" or "systemd:NAME". One can listen on it, but not dial it.
func (a Addr) Inherited() bool { return a.Network == "fd" || a.Network == "systemd" }

// String returns the form that [ParseAddr] reads.
func (a Addr) String() string {
	if a.Network == "unix" || a.Inherited() {
		return a.Network + ":" + a.Address
	}
	return a.Address
}

// ParseAddr reads "host:port", "unix:/path", "unix:@abstract", "fd:N" and "systemd:NAME".
// The empty string is ":0": every address of the machine, a free port. Port names, and
// which sockets are inherited, are looked up when listening, not here.
func ParseAddr(s string) (Addr, error) {
	if s == "" {
		s = ":0"
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "unix":
		return parseUnix(s, rest)
	case "fd", "systemd":
		return parseInherited(s, scheme, rest)
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return Addr{}, fmt.Errorf("address %q: %w: use \"host:port\", \"[ipv6]:port\", \"unix:/path\", \"unix:@name\", \"fd:N\" or \"systemd:NAME\"", s, ErrBadAddr)
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

// maxFDName is systemd's limit.
const maxFDName = 255

func parseInherited(s, scheme, rest string) (Addr, error) {
	if scheme == "fd" {
		n, err := strconv.ParseUint(rest, 10, 31)
		if err != nil {
			return Addr{}, fmt.Errorf("address %q: %w: the number of an open descriptor must follow \"fd:\"", s, ErrBadAddr)
		}
		rest = strconv.FormatUint(n, 10)
	} else if bad := func(r rune) bool { return r < ' ' || r > '~' || r == ':' }; rest == "" || len(rest) > maxFDName || strings.IndexFunc(rest, bad) >= 0 {
		return Addr{}, fmt.Errorf("address %q: %w: a name of at most %d printable ASCII characters without \":\", or an index, must follow \"systemd:\"", s, ErrBadAddr, maxFDName)
	}
	if !canInherit {
		return Addr{}, fmt.Errorf("address %q: inherited sockets: %w", s, errors.ErrUnsupported)
	}
	return Addr{Network: scheme, Address: rest}, nil
}

// AddrString returns an address that a listener is bound to in the form that Listen
// takes. It does not say whether the socket is inherited.
func AddrString(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		return "unix:" + u.Name
	}
	return a.String()
}
