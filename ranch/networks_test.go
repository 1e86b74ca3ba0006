package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

func newNetworks(t testing.TB, rules ...conns.NetworkRule) *conns.Networks {
	t.Helper()
	n := new(conns.Networks)
	if err := n.Add(rules...); err != nil {
		t.Fatal(err)
	}
	return n
}

func deny(prefix string) conns.NetworkRule {
	return conns.NetworkRule{Prefix: netip.MustParsePrefix(prefix), Deny: true}
}

// addressed is an in-memory transport whose clients have any address, as behind a proxy.
type addressed struct {
	proxy.Transport
	mem *transport.Mem
}

func newAddressed() addressed {
	mem := new(transport.Mem)
	return addressed{proxy.Transport{Inner: mem, Local: proxy.Require}, mem}
}

// from returns the transport for a client at ip.
func (a addressed) from(ip string) transport.Transport {
	t := a.Transport
	t.Header = &transport.ProxyHeader{
		Source:      &net.TCPAddr{IP: net.ParseIP(ip), Port: 5555},
		Destination: &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 80},
	}
	if netip.MustParseAddr(ip).Is4() {
		t.Header.Destination = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: 80}
	}
	return t
}

// dial connects from ip.
func (a addressed) dial(t testing.TB, l *ranch.Listener, ip string) net.Conn {
	t.Helper()
	nc, err := a.from(ip).Dial(testContext(t), dialAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// serves reports whether a client at ip is served, and closes it.
func (a addressed) serves(t testing.TB, l *ranch.Listener, ip string) bool {
	t.Helper()
	nc := a.dial(t, l, ip)
	defer nc.Close()
	return isServed(nc)
}

// A denied client is refused before the handshake, with the rejection message of the protocol if
// the transport has no handshake, or with a reset.
func TestDeniedClients(t *testing.T) {
	reset := deny("127.0.0.0/8")
	reset.Reset = true
	tls := transport.TLS{Config: testTLSConfig()}
	for name, c := range map[string]struct {
		t    transport.Transport
		p    protocol.Protocol
		rule conns.NetworkRule
		want string
		err  error
	}{
		"with a message":       {transport.TCP{}, rejecting{greetAndEcho}, deny("127.0.0.0/8"), "-banned", io.EOF},
		"mapped prefix":        {transport.TCP{}, rejecting{greetAndEcho}, deny("::ffff:127.0.0.0/104"), "-banned", io.EOF},
		"without a message":    {transport.TCP{}, greetAndEcho, deny("127.0.0.0/8"), "", io.EOF},
		"reset":                {transport.TCP{}, rejecting{greetAndEcho}, reset, "", syscall.ECONNRESET},
		"TLS":                  {tls, rejecting{greetAndEcho}, deny("127.0.0.0/8"), "", io.EOF},
		"TLS, reset":           {tls, greetAndEcho, reset, "", syscall.ECONNRESET},
		"another network":      {transport.TCP{}, greetAndEcho, deny("10.0.0.0/8"), "+", nil},
		"Refuse that panics":   {transport.TCP{}, customRejecter{greetAndEcho, func() { panic("test") }}, deny("127.0.0.0/8"), "", io.EOF},
		"proxy of another net": {proxy.Transport{Inner: transport.TCP{}, Default: proxy.Pass}, rejecting{greetAndEcho}, deny("127.0.0.0/8"), "-banned", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			l, rec := startListener(t, c.t, ranch.Options{Addr: loopbackAddr(t), HandshakeTimeout: testTimeout, Networks: newNetworks(t, c.rule)}, c.p)
			got, err := receiveFrom(t, l, max(len(c.want), 1), c.err != nil)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
			}
			if c.err == nil {
				return
			}
			end := rec.wait(t, ranch.ConnEnded, 1)[0]
			if end.Reason != conns.Banned || end.Served || !errors.Is(end.Err, conns.Banned) {
				t.Errorf("got the end %v (%v), served %t, want %v", end.Reason, end.Err, end.Served, conns.Banned)
			}
			if i := l.Info(); i.Refused != 1 || i.Reasons[conns.Banned] != 1 || i.Handshakes != 0 {
				t.Errorf("got %s, want 1 refused because it is banned", pretty(i))
			}
		})
	}
}

// receiveFrom connects and reads n bytes, and the end of the stream. A reset may fail the dial.
func receiveFrom(t testing.TB, l *ranch.Listener, n int, end bool) (string, error) {
	nc, err := transport.TCP{}.Dial(testContext(t), dialAddr(l))
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetReadDeadline(time.Now().Add(testTimeout))
	b := make([]byte, n)
	n, err = io.ReadFull(nc, b)
	if err == nil && end {
		_, err = nc.Read(make([]byte, 1))
	}
	return string(b[:n]), err
}

// Behind a proxy the address in the header counts. The client is refused when the header was read,
// before the TLS handshake, which it never begins.
func TestDeniedBehindProxy(t *testing.T) {
	networks := newNetworks(t, deny("192.0.2.0/24"), deny("127.0.0.0/8")) // the proxy itself is not checked
	trusted := []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8")}}
	for name, c := range map[string]struct {
		inner transport.Transport
		want  string
	}{
		"TCP": {transport.TCP{}, "-banned"},
		"TLS": {transport.TLS{Config: testTLSConfig()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, rec := startListener(t, proxy.Transport{Inner: c.inner, Rules: trusted},
				ranch.Options{Addr: loopbackAddr(t), Networks: networks, HandshakeTimeout: testTimeout}, rejecting{greetAndEcho})
			for source, denied := range map[string]bool{"192.0.2.7": true, "198.51.100.7": false} {
				out := proxy.Transport{Inner: transport.TCP{}, Rules: trusted, Header: &transport.ProxyHeader{
					Source: &net.TCPAddr{IP: net.ParseIP(source), Port: 1}, Destination: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 2},
				}}
				nc, err := out.Dial(testContext(t), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				nc.SetReadDeadline(time.Now().Add(testTimeout))
				if !denied {
					if c.want != "" && !isServed(nc) {
						t.Error("got a client of another network refused, want it served")
					}
					continue
				}
				if got, err := io.ReadAll(nc); string(got) != c.want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
				if end := rec.wait(t, ranch.ConnEnded, 1)[0]; end.Reason != conns.Banned {
					t.Errorf("got the end %v (%v), want %v", end.Reason, end.Err, conns.Banned)
				}
			}
		})
	}
}

// A rule applies to later connections at once. CloseBanned ends those that are live, and only those
// of the network.
func TestBanDuringLiveConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, networks := newAddressed(), new(conns.Networks)
		l, rec := startListener(t, a, ranch.Options{Addr: "m", Networks: networks}, greetAndEcho)
		inside, outside := a.dial(t, l, "192.0.2.7"), a.dial(t, l, "198.51.100.7")
		if !isServed(inside) || !isServed(outside) {
			t.Fatal("got a client refused before the ban, want it served")
		}
		unknown, err := a.mem.Dial(t.Context(), "m") // its header has not arrived
		if err != nil {
			t.Fatal(err)
		}
		defer unknown.Close()
		synctest.Wait()
		if n := l.CloseBanned(); n != 0 {
			t.Errorf("CloseBanned without rules: got %d, want 0", n)
		}
		if err := networks.Add(deny("192.0.2.0/24")); err != nil {
			t.Fatal(err)
		}
		if a.serves(t, l, "192.0.2.8") {
			t.Error("got a client served after the ban, want it refused")
		}
		(&client{nc: inside}).checkEcho(t)
		if n := l.CloseBanned(); n != 1 {
			t.Errorf("CloseBanned: got %d, want 1", n)
		}
		if _, err := inside.Read(make([]byte, 1)); err == nil {
			t.Error("got data on a closed connection, want an error")
		}
		(&client{nc: outside}).checkEcho(t)
		synctest.Wait()
		for i, e := range rec.ofKind(ranch.ConnEnded) {
			if e.Reason != conns.Banned || e.Served != (i == 1) {
				t.Errorf("end %d: got %v (%v), served %t, want %v, and only the second served", i, e.Reason, e.Err, e.Served, conns.Banned)
			}
		}
		if i := l.Info(); i.Served != 1 || i.Refused != 1 || i.Reasons[conns.Banned] != 2 || i.AllConnections != 2 {
			t.Errorf("got %s, want 1 served and 1 refused, both banned, and 2 live", pretty(i))
		}
		if err := networks.Set(nil); err != nil {
			t.Fatal(err)
		}
		if !a.serves(t, l, "192.0.2.8") {
			t.Error("got a client refused after the rule was removed, want it served")
		}
	})
}

// A client without a header is the client itself under proxy.Use, and CloseBanned closes it.
func TestBanOfADirectClient(t *testing.T) {
	networks := new(conns.Networks)
	use := proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8"), Policy: proxy.Use}}}
	l, rec := startListener(t, use, ranch.Options{Addr: loopbackAddr(t), Networks: networks}, greetAndEcho)
	nc, err := transport.TCP{}.Dial(testContext(t), dialAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testTimeout))
	if _, err := nc.Write([]byte("x")); err != nil || !isServed(nc) {
		t.Fatalf("got the client refused (%v), want it served", err)
	}
	if err := networks.Add(deny("127.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	if n := l.CloseBanned(); n != 1 {
		t.Errorf("CloseBanned: got %d, want 1", n)
	}
	if got := waitReasons(t, rec, 1)[0]; got != conns.Banned {
		t.Errorf("got reason %v, want %v", got, conns.Banned)
	}
}

// slowTCP is TCP with a handshake.
type slowTCP struct {
	transport.TCP
	began, goOn chan struct{}
}

func (s slowTCP) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	close(s.began)
	<-s.goOn
	return nc, nil
}

// A rule that is added while the handshake of a client without a header is in progress applies to
// it.
func TestBanDuringHandshake(t *testing.T) {
	networks, slow := new(conns.Networks), slowTCP{began: make(chan struct{}), goOn: make(chan struct{})}
	use := proxy.Transport{Inner: slow, Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8"), Policy: proxy.Use}}}
	l, rec := startListener(t, use, ranch.Options{Addr: loopbackAddr(t), Networks: networks}, greetAndEcho)
	nc, err := transport.TCP{}.Dial(testContext(t), dialAddr(l))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	receive(t, "the handshake begins", slow.began)
	if err := networks.Add(deny("127.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	l.CloseBanned()
	close(slow.goOn)
	if got := waitReasons(t, rec, 1)[0]; got != conns.Banned {
		t.Errorf("got reason %v, want %v", got, conns.Banned)
	}
}

// A ban ends at its time.
func TestBanExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddressed()
		ban := deny("192.0.2.0/24")
		ban.Until = time.Now().Add(time.Hour)
		l, _ := startListener(t, a, ranch.Options{Addr: "m", Networks: newNetworks(t, ban)}, greetAndEcho)
		time.Sleep(time.Hour - 1)
		if a.serves(t, l, "192.0.2.7") {
			t.Error("got a client served during the ban, want it refused")
		}
		time.Sleep(time.Nanosecond)
		if !a.serves(t, l, "192.0.2.7") {
			t.Error("got a client refused after the ban, want it served")
		}
	})
}

// Rules exempt networks from the limits per address, or replace them, and say by which prefixes
// addresses are counted.
func TestLimitsOfNetworks(t *testing.T) {
	rule := func(prefix string, change func(*conns.NetworkRule)) conns.NetworkRule {
		r := conns.NetworkRule{Prefix: netip.MustParsePrefix(prefix)}
		change(&r)
		return r
	}
	rules := []conns.NetworkRule{
		rule("10.0.0.0/8", func(r *conns.NetworkRule) { r.Exempt = true }),
		rule("10.1.0.0/16", func(r *conns.NetworkRule) { r.Deny = true }),
		rule("10.1.1.0/24", func(r *conns.NetworkRule) { r.PerAddress = 4 }),
		rule("172.16.0.0/12", func(r *conns.NetworkRule) { r.Bits4 = 24 }),
		rule("192.0.2.0/24", func(r *conns.NetworkRule) { r.PerAddress = transport.NoLimit }),
		rule("198.51.100.0/24", func(r *conns.NetworkRule) { r.AddressRate = conns.Rate{PerSecond: 0.01, Burst: 1} }),
		rule("2001:db8::/32", func(r *conns.NetworkRule) { r.Bits6 = 48 }),
		rule("2001:db9::/32", func(r *conns.NetworkRule) { r.Bits6 = 128 }),
	}
	for name, c := range map[string]struct {
		from []string
		want int // served
	}{
		"no rule":               {[]string{"203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2"}, 3},
		"no rule, IPv6":         {[]string{"2001:dba::1", "2001:dba::2", "2001:dba::3", "2001:dba:0:1::1"}, 3},
		"exempt":                {[]string{"10.9.9.9", "10.9.9.9", "10.9.9.9", "10.9.9.9"}, 4},
		"denied within exempt":  {[]string{"10.1.9.9", "10.1.9.9"}, 0},
		"higher limit":          {[]string{"10.1.1.9", "10.1.1.9", "10.1.1.9", "10.1.1.9", "10.1.1.9"}, 4},
		"counted by /24":        {[]string{"172.16.1.1", "172.16.1.2", "172.16.1.3", "172.16.2.1"}, 3},
		"no limit":              {[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, 3},
		"own rate":              {[]string{"198.51.100.1", "198.51.100.1", "198.51.100.2"}, 2},
		"IPv6, counted by /48":  {[]string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1", "2001:db8:1::1"}, 3},
		"IPv6, counted by /128": {[]string{"2001:db9::1", "2001:db9::2", "2001:db9::2", "2001:db9::2"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAddressed()
				l, _ := startListener(t, a, ranch.Options{Addr: "m", Networks: newNetworks(t, rules...), Limits: conns.Limits{PerAddress: 2}}, greetAndEcho)
				served := 0
				for _, ip := range c.from {
					if isServed(a.dial(t, l, ip)) {
						served++
					}
				}
				if served != c.want {
					t.Errorf("got %d of %d clients served, want %d", served, len(c.from), c.want)
				}
			})
		})
	}
}

// Clients connect while rules are changed and connections closed. Which of them are served depends
// on the moment, but none is forgotten.
func TestNetworksChangeUnderLoad(t *testing.T) {
	a, networks := newAddressed(), new(conns.Networks)
	l, rec := startListener(t, a, ranch.Options{Addr: "m", Networks: networks, Limits: conns.Limits{PerAddress: 3}}, greetAndEcho)
	ctx, cancel := context.WithCancel(testContext(t))
	var clients, changes sync.WaitGroup
	const n, each = 8, 40
	changes.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			r := deny(fmt.Sprintf("192.0.2.%d/32", i%n))
			networks.Add(r)
			l.CloseBanned()
			networks.Remove(r.Prefix)
			networks.Replace("file", []conns.NetworkRule{{Prefix: r.Prefix, PerAddress: i%3 + 1}})
		}
	})
	for i := range n {
		clients.Go(func() {
			for range each {
				a.serves(t, l, fmt.Sprintf("192.0.2.%d", i))
			}
		})
	}
	clients.Wait()
	cancel()
	changes.Wait()
	rec.wait(t, ranch.ConnEnded, n*each)
	waitActive(t, l, 0)
	if i := l.Info(); i.Accepted != n*each || i.Addresses != 0 {
		t.Errorf("got %s, want %d accepted, and no address in the table", pretty(i), n*each)
	}
}
