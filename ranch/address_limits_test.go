package ranch_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// dialFrom connects from a loopback address.
func dialFrom(t testing.TB, l *ranch.Listener, ip string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	nc, err := d.DialContext(testContext(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testTimeout))
	return nc
}

func isServed(nc net.Conn) bool {
	_, err := io.ReadFull(nc, make([]byte, 1))
	return err == nil
}

// The limit applies to each address; a connection that ends makes room.
func TestMaxPerAddress(t *testing.T) {
	if !canBind("127.0.0.2") {
		t.Skip("the system has one loopback address; on macOS: sudo ifconfig lo0 alias 127.0.0.2")
	}
	l, rec := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{PerAddress: 2}}, greetAndEcho)
	a, b := dialFrom(t, l, "127.0.0.2"), dialFrom(t, l, "127.0.0.2")
	if !isServed(a) || !isServed(b) {
		t.Fatal("got a client refused below the limit, want none")
	}
	if isServed(dialFrom(t, l, "127.0.0.2")) {
		t.Error("got a client served above the limit, want none")
	}
	if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAddress {
		t.Errorf("got reason %v, want %v", got, conns.RefusedAddress)
	}
	if !isServed(dialFrom(t, l, "127.0.0.3")) {
		t.Error("got a client of another address refused, want it served")
	}
	a.Close()
	waitUntil(t, "a client of the address is served again", func() bool { return isServed(dialFrom(t, l, "127.0.0.2")) })
	if n := l.Info().Addresses; n != 2 {
		t.Errorf("Addresses: got %d, want 2", n)
	}
}

func canBind(ip string) bool {
	ln, err := net.Listen("tcp", ip+":0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

// An address that connects too often is refused after the burst.
func TestAddressRate(t *testing.T) {
	l, rec := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{AddressRate: conns.Rate{PerSecond: 0.001, Burst: 3}}}, greetAndEcho)
	for i := range 5 {
		if got := isServed(dialFrom(t, l, "127.0.0.1")); got != (i < 3) {
			t.Errorf("connection %d: got served %v, want %v", i+1, got, i < 3)
		}
	}
	for _, r := range waitReasons(t, rec, 2) {
		if r != conns.RefusedRate {
			t.Errorf("got reason %v, want %v", r, conns.RefusedRate)
		}
	}
}

// A connection that was served does not count as refused, whatever error its protocol returns: the
// error may come from another listener.
func TestRefusalErrorOfAnotherListener(t *testing.T) {
	for _, why := range []conns.Reason{conns.RefusedAddress, conns.Banned} {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{}, protocol.Func(func(context.Context, *transport.Conn) error {
			return fmt.Errorf("upstream: %w", why)
		}))
		newClient(t, f, dialAddr(l))
		if got := waitReasons(t, rec, 1)[0]; got != conns.Failed {
			t.Errorf("%v: got reason %v, want %v", why, got, conns.Failed)
		}
		if i := l.Info(); i.Refused != 0 || i.Served != 1 {
			t.Errorf("%v: got %s, want 1 served and 0 refused", why, pretty(i))
		}
	}
}
