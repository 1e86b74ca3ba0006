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

// advice says what an operator can do about an endpoint that could not be listened on;
// "" if the error says it all.
func advice(e endpoint, err error) string {
	_, port, _ := net.SplitHostPort(e.Addr.Address)
	dir := filepath.Dir(e.Addr.Address)
	var dns *net.DNSError
	switch {
	case errors.Is(err, transport.ErrNotInherited) && e.Addr.Network == "systemd":
		return "start it by a socket unit with FileDescriptorName=" + e.Addr.Address + ", or to try it: systemd-socket-activate -l PORT --fdname=" + e.Addr.Address + " ranchd …"
	case errors.Is(err, transport.ErrNotInherited) || errors.Is(err, transport.ErrNotListening):
		return "whoever starts ranchd has to leave a listening socket open as descriptor " + e.Addr.Address
	case errors.Is(err, syscall.EADDRINUSE) && e.Addr.Inherited():
		return "listen on each socket once"
	case errors.Is(err, syscall.EADDRINUSE) && e.unix():
		return "stop the program that listens there, remove the file if it is no socket, or choose another path"
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("stop the program that listens there (%s shows it), or choose another port; 0 is any free one", whoListens(port))
	case errors.Is(err, fs.ErrPermission) && e.unix():
		return fmt.Sprintf("this user may not create or use a socket there: check the permissions of %s, or choose another directory", dir)
	case errors.Is(err, fs.ErrPermission):
		return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE: choose a higher one, or grant it"
	case errors.Is(err, fs.ErrNotExist) && e.unix():
		return fmt.Sprintf("there is no directory %s: create it, or choose another", dir)
	case errors.As(err, &dns):
		return "the host's name has no address: check it, or write the address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no interface of this machine has this address: choose one that it has, or 0.0.0.0 or [::] for all"
	}
	return ""
}

func whoListens(port string) string {
	if runtime.GOOS == "linux" {
		return "ss -ltnp sport = :" + port
	}
	return "lsof -nP -iTCP:" + port
}
