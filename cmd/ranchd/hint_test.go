package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestHint(t *testing.T) {
	onTCP, onUnix := endpoint{Addr: tcp("10.9.8.7:80")}, endpoint{Addr: unix("/run/x/a.sock")}
	for _, c := range []struct {
		e    endpoint
		err  error
		want string
	}{
		{onTCP, syscall.EADDRINUSE, ":80"},
		{onUnix, syscall.EADDRINUSE, "another path"},
		{onTCP, syscall.EACCES, "CAP_NET_BIND_SERVICE"},
		{onUnix, syscall.EACCES, "permissions of /run/x"},
		{onUnix, syscall.EPERM, "permissions of /run/x"},
		{onUnix, fs.ErrNotExist, "directory /run/x does not exist"},
		{onTCP, &net.DNSError{Err: "no such host"}, "host name"},
		{endpoint{Addr: tcp("[fe80::1%nix0]:80")}, syscall.EINVAL, "nix0 after % must be"},
		{onTCP, syscall.EADDRNOTAVAIL, "no network interface"},
	} {
		err := fmt.Errorf("ranch: start x: listen: %w", c.err)
		if got := hint(c.e, err); !strings.Contains(got, c.want) {
			t.Errorf("%v: got %q, want %q in it", err, got, c.want)
		}
	}
	if got := hint(onTCP, errors.New("another error")); got != "" {
		t.Errorf("another error: got %q, want no hint", got)
	}
}
