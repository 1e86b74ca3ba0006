//go:build unix

package ranch_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"goranch/ranch"
	"goranch/transport"
)

// inheritedAddr returns the address of a listening socket as a parent process passes it on.
func inheritedAddr(t testing.TB, addr string) string {
	t.Helper()
	ln, err := transport.TCP{}.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		ln.Close()
	})
	return fmt.Sprintf("fd:%d", f.Fd())
}

// A listener on an inherited socket can be suspended and resumed, and reopens the socket when other
// code closes it. Clients that connect while it is suspended are served after the resume.
func TestInheritedSocket(t *testing.T) {
	for _, m := range testTransports()[:4] {
		t.Run(m.name, func(t *testing.T) {
			var sockets []net.Listener
			l, rec := startListener(t, m.t, ranch.Options{Addr: inheritedAddr(t, m.addr(t)), PostListen: func(ln net.Listener) error {
				sockets = append(sockets, ln)
				return nil
			}}, greetAndEcho)
			addr := dialAddr(l)
			live := m.servedClients(t, l, 3)
			for range 3 {
				if err := l.Suspend(); err != nil {
					t.Fatal(err)
				}
				late := m.newClient(t, l)
				for _, v := range live {
					v.checkEcho(t)
				}
				if !late.waiting() {
					t.Error("a client of a suspended listener was served or refused, want it to wait")
				}
				if err := l.Resume(); err != nil {
					t.Fatal(err)
				}
				live = append(live, late.waitServed(t))
				if now := dialAddr(l); now != addr {
					t.Errorf("got address %s, want %s", now, addr)
				}
			}
			sockets[len(sockets)-1].Close()
			rec.wait(t, ranch.SocketReopened, 1)
			for _, v := range append(live, m.servedClients(t, l, 3)...) {
				v.checkEcho(t)
			}
		})
	}
}

// A bad address is a bad option; a socket that does not exist is an error of the start.
func TestInheritedSocketFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		opts ranch.Options
		want error
	}{
		{"no number", ranch.Options{Addr: "fd:x"}, ranch.ErrBadOption},
		{"not open", ranch.Options{Addr: "fd:999999"}, transport.ErrNotInherited},
		{"no name", ranch.Options{Addr: "systemd:none"}, transport.ErrNotInherited},
		{"two sockets", ranch.Options{Addr: inheritedAddr(t, loopbackAddr(t)), NumListenSockets: 2}, errors.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := tryStartListener(t, new(ranch.Server), transport.TCP{}, c.opts, greetAndEcho); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// The address of a listener can be changed from an inherited socket to another one and back.
func TestFromInheritedToOwnSocket(t *testing.T) {
	at := inheritedAddr(t, loopbackAddr(t))
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: at}, greetAndEcho)
	first := dialAddr(l)
	for _, addr := range []string{loopbackAddr(t), at} {
		if err := l.Suspend(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.SetOptions(nil, ranch.Options{Addr: addr}); err != nil {
			t.Fatal(err)
		}
		if err := l.Resume(); err != nil {
			t.Fatal(err)
		}
		if same := dialAddr(l) == first; same != (addr == at) {
			t.Errorf("Addr %s: got %s, want the first address %s: %v", addr, dialAddr(l), first, addr == at)
		}
	}
}
