package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"goranch/ranch"
)

func TestAdvice(t *testing.T) {
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
		{onUnix, fs.ErrNotExist, "no directory /run/x"},
		{onTCP, &net.DNSError{Err: "no such host"}, "the host's name"},
		{onTCP, syscall.EADDRNOTAVAIL, "no interface"},
	} {
		err := &ranch.Error{Op: "start", Ref: "x", Err: fmt.Errorf("listen: %w", c.err)}
		if got := advice(c.e, err); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q does not say %q", err, got, c.want)
		}
	}
	if got := advice(onTCP, errors.New("something else")); got != "" {
		t.Errorf("advice on the unknown: %q", got)
	}
}
