package console

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

// AdminSocket returns the default address of the operators' shell on this machine: "unix:" and
// ranchd.sock in $XDG_RUNTIME_DIR; without that variable, in /run for root, and
// /tmp/ranchd-UID.sock for other users.
func AdminSocket() string {
	return adminSocket(os.Getenv("XDG_RUNTIME_DIR"), os.Getuid(), "/tmp")
}

func adminSocket(runtimeDir string, uid int, tmp string) string {
	switch {
	case filepath.IsAbs(runtimeDir):
		return "unix:" + filepath.Join(runtimeDir, "ranchd.sock")
	case uid == 0:
		return "unix:/run/ranchd.sock"
	}
	return "unix:" + filepath.Join(tmp, "ranchd-"+strconv.Itoa(uid)+".sock")
}

// Address is the address of a shell.
type Address struct {
	TLS  bool
	Addr listenaddr.Addr
}

const addressForms = "use unix:/path, tcp://host:port or tls://host:port"

// ParseAddress parses "unix:/path", "unix:@name" (Linux), "tls+unix:/path", "tcp://host:port",
// "tls://host:port" and "host:port", which is TCP.
func ParseAddress(s string) (Address, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	rest, slashes := strings.CutPrefix(rest, "//")
	var a Address
	var err error
	switch {
	case ok && (scheme == "unix" || scheme == "tls+unix"):
		a.TLS = scheme == "tls+unix"
		a.Addr, err = listenaddr.Parse("unix:" + rest)
	case slashes && (scheme == "tcp" || scheme == "tls"):
		a.TLS = scheme == "tls"
		a.Addr, err = listenaddr.Parse(rest)
	case slashes:
		return Address{}, fmt.Errorf("address %q: unknown scheme %q: %s", s, scheme, addressForms)
	case ok && scheme != "tls" && scheme != "tcp": // "tls:443" would be a host named tls, without TLS
		a.Addr, err = listenaddr.Parse(s)
	default:
		return Address{}, fmt.Errorf("address %q: %s", s, addressForms)
	}
	if err == nil && (a.Addr.Inherited() || a.Addr.Network == "tcp" && strings.HasPrefix(a.Addr.Address, ":")) {
		err = fmt.Errorf("address %q cannot be dialed: %s", s, addressForms)
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// String returns the form that ParseAddress parses.
func (a Address) String() string {
	switch {
	case a.Addr.Network == "unix" && a.TLS:
		return "tls+" + a.Addr.String()
	case a.Addr.Network == "unix":
		return a.Addr.String()
	case a.TLS:
		return "tls://" + a.Addr.Address
	}
	return "tcp://" + a.Addr.Address
}

// Short returns the name for a prompt: host:port, or a socket's file name without its directory.
func (a Address) Short() string {
	if a.Addr.Network == "unix" {
		return filepath.Base(a.Addr.Address)
	}
	return a.Addr.Address
}

// Transport returns the transport that dials a.Addr. config is for TLS; nil is an empty one.
func (a Address) Transport(config *tls.Config) transport.Transport {
	if a.TLS {
		return transport.TLS{Config: config}
	}
	return transport.TCP{}
}
