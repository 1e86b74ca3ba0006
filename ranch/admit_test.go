package ranch_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

var errCountry = errors.New("country XX")

// refuse203 is an admission hook that refuses one network.
func refuse203(client netip.AddrPort) error {
	if strings.HasPrefix(client.String(), "203.0.113.") {
		return errCountry
	}
	return nil
}

// Behind a proxy the hook decides about the client in the header. It can be changed while the
// listener runs, and applies to connections that are accepted from then on.
func TestAdmitBehindProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddressed()
		l, rec := startListener(t, a, ranch.Options{Addr: "m", Admit: refuse203}, rejecting{greetAndEcho})
		live := a.dial(t, l, "198.51.100.7")
		if !isServed(live) {
			t.Error("got a client of another network refused, want it served")
		}
		refused := a.dial(t, l, "203.0.113.7")
		if got, err := io.ReadAll(refused); err != nil || string(got) != "-"+conns.RefusedByHook.Error() {
			t.Errorf("rejection message: got %q, %v, want -%v", got, err, conns.RefusedByHook)
		}
		end := rec.wait(t, ranch.ConnEnded, 1)[0]
		if end.Reason != conns.RefusedByHook || end.Served || !errors.Is(end.Err, errCountry) {
			t.Errorf("got the end %v (%v), served %t, want %v", end.Reason, end.Err, end.Served, conns.RefusedByHook)
		}
		if i := l.Info(); i.Refused != 1 || i.Reasons[conns.RefusedByHook] != 1 || i.ActiveConnections != 1 {
			t.Errorf("got %s, want 1 refused by the hook and 1 active", pretty(i))
		}
		if _, err := l.ChangeOptions(func(o *ranch.Options) { o.Admit = func(netip.AddrPort) error { return errCountry } }); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(a.dial(t, l, "198.51.100.7")); err != nil || string(got) != "-"+conns.RefusedByHook.Error() {
			t.Errorf("rejection message after the change: got %q, %v, want -%v", got, err, conns.RefusedByHook)
		}
		(&client{nc: live}).checkEcho(t)
		if _, err := l.ChangeOptions(func(o *ranch.Options) { o.Admit = nil }); err != nil {
			t.Fatal(err)
		}
		if !a.serves(t, l, "203.0.113.7") {
			t.Error("got a client refused without a hook, want it served")
		}
	})
}

// A hook that blocks does not delay acceptors: other clients are served meanwhile.
func TestAdmitDoesNotDelayAcceptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddressed()
		l, rec := startListener(t, a, ranch.Options{Addr: "m", NumAcceptors: 1, HandshakeTimeout: time.Second,
			Admit: func(client netip.AddrPort) error {
				if refuse203(client) != nil {
					time.Sleep(5 * time.Second)
				}
				return nil
			}}, greetAndEcho)
		for range 50 {
			a.dial(t, l, "203.0.113.7")
		}
		synctest.Wait()
		begin := time.Now()
		if !a.serves(t, l, "198.51.100.7") || time.Since(begin) != 0 {
			t.Errorf("got another client refused, or served after %v, want it served at once", time.Since(begin))
		}
		for i, r := range waitReasons(t, rec, 51) {
			if want := conns.HandshakeTimeout; i > 0 && r != want {
				t.Errorf("got reason %v, want %v", r, want)
			}
		}
	})
}

// Clients that a limit per address refuses receive the rejection message, without a slot.
func TestRejectionMessageOfAddressLimits(t *testing.T) {
	for want, limits := range map[conns.Reason]conns.Limits{
		conns.RefusedAddress: {PerAddress: 1},
		conns.RefusedRate:    {AddressRate: conns.Rate{PerSecond: 0.001, Burst: 1}},
	} {
		t.Run(want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAddressed()
				l, rec := startListener(t, a, ranch.Options{Addr: "m", MaxConnections: 2, Limits: limits}, rejecting{greetAndEcho})
				first := a.dial(t, l, "192.0.2.7")
				if !isServed(first) {
					t.Error("got the first client refused, want it served")
				}
				for range 3 {
					if got, err := io.ReadAll(a.dial(t, l, "192.0.2.7")); err != nil || string(got) != "-"+want.Error() {
						t.Errorf("rejection message: got %q, %v, want -%v", got, err, want)
					}
				}
				for _, got := range waitReasons(t, rec, 3) {
					if got != want {
						t.Errorf("got reason %v, want %v", got, want)
					}
				}
				if !a.serves(t, l, "198.51.100.7") {
					t.Error("got a client of another address refused, want it served")
				}
			})
		})
	}
}

// silentRefuser is a Refuser without a rejection message.
type silentRefuser struct{ rejecting }

func (silentRefuser) Refuses() bool { return false }

// At the cap a handshake precedes the rejection message; without a message there is none.
func TestHandshakeOfRefusedClients(t *testing.T) {
	for name, c := range map[string]struct {
		p    protocol.Protocol
		want string
	}{
		"with a message":    {rejecting{greetAndEcho}, "-" + conns.RefusedAtCap.Error()},
		"without a message": {silentRefuser{rejecting{greetAndEcho}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr := transport.TLS{Config: testTLSConfig()}
			l, rec := startListener(t, tr, ranch.Options{Addr: loopbackAddr(t), HandshakeTimeout: testTimeout, MaxConnections: 1, RefuseAfter: ranch.RefuseAtOnce}, c.p)
			first, err := tr.Dial(testContext(t), dialAddr(l))
			if err != nil || !isServed(first) {
				t.Fatalf("first client: got %v, want it served", err)
			}
			defer first.Close()
			var got []byte
			var nc net.Conn
			if nc, err = tr.Dial(testContext(t), dialAddr(l)); err == nil {
				defer nc.Close()
				got, err = io.ReadAll(nc)
			}
			if string(got) != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
			if r := waitReasons(t, rec, 1)[0]; r != conns.RefusedAtCap {
				t.Errorf("got reason %v, want %v", r, conns.RefusedAtCap)
			}
		})
	}
}
