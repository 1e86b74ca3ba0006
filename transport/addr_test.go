package transport_test

import (
	"errors"
	"runtime"
	"testing"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

func TestParseAddr(t *testing.T) {
	network, address, err := transport.ParseAddr("unix:/run/x")
	if network != "unix" || address != "/run/x" || err != nil {
		t.Errorf("got %q, %q, %v, want unix, /run/x", network, address, err)
	}
	network, address, err = transport.ParseAddr("localhost")
	if network != "" || address != "" || !errors.Is(err, transport.ErrBadAddr) {
		t.Errorf("got %q, %q, %v, want ErrBadAddr", network, address, err)
	}
}

func TestDialInherited(t *testing.T) {
	for _, addr := range []string{"fd:0", "systemd:web"} {
		if _, err := (transport.TCP{}).Dial(t.Context(), addr); !errors.Is(err, transport.ErrBadAddr) && runtime.GOOS != "windows" {
			t.Errorf("dial %q: got %v, want ErrBadAddr", addr, err)
		}
	}
}

// The address of a listener can be listened on again: a suspended listener is resumed on the port
// that was chosen for it.
func TestListenAgain(t *testing.T) {
	addrs := []string{"127.0.0.1:0", "[::1]:0", socketPath(t)}
	if runtime.GOOS == "linux" {
		addrs = append(addrs, abstractName())
	}
	for _, addr := range addrs {
		var tcp transport.TCP
		ln := listen(t, tcp, addr)
		bound := listenaddr.String(ln.Addr())
		ln.Close()
		again := listen(t, tcp, bound)
		if got := listenaddr.String(again.Addr()); got != bound {
			t.Errorf("listen on %q again: got %q, want %q", addr, got, bound)
		}
		again.Close()
	}
}
