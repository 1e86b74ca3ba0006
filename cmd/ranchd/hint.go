package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"runtime"
	"syscall"

	"goranch/transport"
)

// hint says how an operator can fix an error of listening on an endpoint, or "" if the error is
// sufficient.
func hint(e endpoint, err error) string {
	_, port, _ := net.SplitHostPort(e.Addr.Address)
	dir := filepath.Dir(e.Addr.Address)
	var dns *net.DNSError
	switch {
	case errors.Is(err, transport.ErrNotInherited) && e.Addr.Network == "systemd":
		return fmt.Sprintf("start ranchd from a socket unit with FileDescriptorName=%s; for testing: systemd-socket-activate -l PORT --fdname=%s ranchd …",
			e.Addr.Address, e.Addr.Address)
	case errors.Is(err, transport.ErrNotInherited):
		return "the parent process must pass a listening socket as descriptor " + e.Addr.Address
	case errors.Is(err, syscall.EADDRINUSE) && e.Addr.Inherited():
		return "use each inherited socket only once"
	case errors.Is(err, syscall.EADDRINUSE) && e.unix():
		return "stop the program that listens there, remove the file if it is not a socket, or choose another path"
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("stop the program that uses the port (find it with: %s), or choose another port; 0 chooses a free one", portCommand(port))
	case errors.Is(err, fs.ErrPermission) && e.unix():
		return fmt.Sprintf("the user of ranchd cannot create or use a socket there; check the permissions of %s, or choose another directory", dir)
	case errors.Is(err, fs.ErrPermission):
		return "ports below 1024 require root or the capability CAP_NET_BIND_SERVICE; grant it, or choose a higher port"
	case errors.Is(err, fs.ErrNotExist) && e.unix():
		return fmt.Sprintf("directory %s does not exist; create it, or choose another", dir)
	case errors.As(err, &dns):
		return "the host name has no address; correct it, or use an IP address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no network interface has this address; use an address of this host, or 0.0.0.0 or [::] for all"
	}
	return ""
}

// portCommand returns a command that shows which program listens on a port.
func portCommand(port string) string {
	if runtime.GOOS == "linux" {
		return "ss -ltnp sport = :" + port
	}
	return "lsof -nP -iTCP:" + port
}
