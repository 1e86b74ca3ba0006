// Package listenaddr parses and formats the addresses that the transports of this module listen on
// and dial: "host:port", "unix:/path", "unix:@abstract", "fd:N" and "systemd:NAME".
package listenaddr

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
)

// ErrBad is wrapped by the errors of [Parse]. It is transport.ErrBadAddr.
var ErrBad = errors.New("bad address")

// Addr is a parsed address. Its zero value is no address.
type Addr struct {
	Network string // "tcp", "unix", "fd" or "systemd"
	Address string // "host:port"; "/path" or "@abstract"; the number of a descriptor; a name
}

// Inherited reports whether the address is a socket that this process has inherited: "fd:N" or
// "systemd:NAME". Such an address can be listened on, but not dialled.
func (a Addr) Inherited() bool { return a.Network == "fd" || a.Network == "systemd" }

// String returns the form that [Parse] reads.
func (a Addr) String() string {
	if a.Network == "unix" || a.Inherited() {
		return a.Network + ":" + a.Address
	}
	return a.Address
}

const (
	abstractSockets = runtime.GOOS == "linux"
	maxFDName       = 255 // the limit of systemd
)

// Parse reads an address. The empty string is ":0": all addresses of this machine, with a free
// port. Names of hosts and ports and inherited sockets are not looked up. Errors are of type
// [*Error] and wrap [ErrBad], or errors.ErrUnsupported for a form that this system does not have.
func Parse(s string) (Addr, error) {
	if s == "" {
		s = ":0"
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "unix":
		return parseUnix(s, rest)
	case "fd":
		return parseDescriptor(s, rest)
	case "systemd":
		return parseSystemd(s, rest)
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return bad(s, `use "host:port", "[ipv6]:port", "unix:/path", "unix:@name", "fd:N" or "systemd:NAME"`)
	}
	return Addr{Network: "tcp", Address: s}, nil
}

// Error is an error of [Parse]. Err does not name the address.
type Error struct {
	Addr string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("address %q: %v", e.Addr, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

func bad(s, format string, args ...any) (Addr, error) {
	return Addr{}, &Error{s, fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))}
}

func unsupported(s, what string) (Addr, error) {
	return Addr{}, &Error{s, fmt.Errorf("%s: %w", what, errors.ErrUnsupported)}
}

func parseUnix(s, path string) (Addr, error) {
	switch {
	case path == "" || path == "@":
		return bad(s, `a path or @name must follow "unix:"`)
	case strings.ContainsRune(path, 0):
		return bad(s, "it contains a zero byte")
	case len(path) > maxUnixPath:
		return bad(s, "the name of a Unix socket has at most %d bytes, this one has %d", maxUnixPath, len(path))
	case path[0] == '@' && !abstractSockets:
		return unsupported(s, "abstract Unix sockets")
	}
	return Addr{Network: "unix", Address: path}, nil
}

func parseDescriptor(s, number string) (Addr, error) {
	n, err := strconv.ParseUint(number, 10, 31)
	switch {
	case err != nil:
		return bad(s, `the number of an open descriptor must follow "fd:"`)
	case !canInherit:
		return unsupported(s, "inherited sockets")
	}
	return Addr{Network: "fd", Address: strconv.FormatUint(n, 10)}, nil
}

func parseSystemd(s, name string) (Addr, error) {
	invalid := func(r rune) bool { return r < ' ' || r > '~' || r == ':' }
	switch {
	case name == "" || len(name) > maxFDName || strings.IndexFunc(name, invalid) >= 0:
		return bad(s, `a name of at most %d printable ASCII characters without ":", or an index, must follow "systemd:"`, maxFDName)
	case !canInherit:
		return unsupported(s, "inherited sockets")
	}
	return Addr{Network: "systemd", Address: name}, nil
}

// String returns the address that a listener is bound to in the form that [Parse] reads. Whether
// the socket was inherited is not part of it.
func String(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		return "unix:" + u.Name
	}
	return a.String()
}
