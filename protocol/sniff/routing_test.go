package sniff_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/sniff"
	"goranch/transport"
	"goranch/transport/proxy"
)

// testCertificates returns those of a test server.
func testCertificates() []tls.Certificate {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	return ts.TLS.Certificates
}

// labelled returns a protocol that sends the labels of the connection and what PeekClientHello
// returns, and then echoes.
func labelled(name string) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		said := name
		for _, l := range conn.Labels() {
			said += " " + l.String()
		}
		if _, secure := conn.TLS(); !secure {
			h, err := sniff.PeekClientHello(conn)
			if err != nil {
				return err
			}
			said += " " + h.ServerName + " " + strings.Join(slices.Collect(h.ALPN()), ",")
		}
		return namedEcho(said).Serve(ctx, conn)
	})
}

func routeTo(p protocol.Protocol, serverNames ...string) sniff.Route {
	return sniff.Route{ServerNames: serverNames, Protocol: p}
}

// The selected protocol gets all bytes of the ClientHello, however they are divided.
func TestClientHelloStaysUnread(t *testing.T) {
	mux := newMux(t, sniff.Config{
		Rules:   []sniff.Rule{{Name: "tls", Select: newRoutes(t, routeTo(labelled("a"), "a.test"), routeTo(labelled("any")))}},
		Default: namedEcho("default"),
	})
	big := records(message(extension(21, strings.Repeat("\x00", 16<<10)), serverName("A.test"), alpn("h2", "x")), 1<<14)
	pieces := func(s string, n int) (all []string) {
		for c := range slices.Chunk([]byte(s), (len(s)+n-1)/n) {
			all = append(all, string(c))
		}
		return all
	}
	for _, tt := range []struct{ name, first, want string }{
		{"one record", helloFor("a.test", "h2") + "more", "a sni=a.test a.test h2:"},
		{"records of two bytes", records(message(serverName("a.test")), 2), "a sni=a.test a.test :"},
		{"16 KiB of extensions", big, "a sni=a.test A.test h2,x:"},
		{"another name", helloFor("b.test"), "any sni=b.test b.test :"},
		{"no name", records(message(), 0), "any  :"},
		{"malformed", helloFor("a.test."), "default:"},
		{"incomplete", big[:1<<14], "default:"}, // then the end of input
	} {
		for _, n := range []int{1, 100} {
			synctest.Test(t, func(t *testing.T) {
				got, err := exchange(t, mux, send(pieces(tt.first, n)...))
				if want := tt.want + tt.first; got != want || err != nil {
					t.Errorf("%s, %d pieces: got %.60q (%d bytes), %v, want %.60q (%d bytes)", tt.name, n, got, len(got), err, want, len(want))
				}
			})
		}
	}
}

// bytewise is a connection that sends the first bytes one by one.
type bytewise struct {
	net.Conn
	left int
}

func (b *bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if b.left == 0 {
			n, err := b.Conn.Write(p[i:])
			return i + n, err
		}
		b.left--
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		synctest.Wait()
	}
	return len(p), nil
}

// TLS is served after its ClientHello was examined: one server name by a server here, and another
// by a server behind, to which the bytes are forwarded.
func TestRealTLSClients(t *testing.T) {
	certificates := testCertificates()
	here := &sniff.Upgrade{To: transport.TLS{Config: &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}}}, Protocol: labelled("here")}
	behind := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
		up := &sniff.Upgrade{To: transport.TLS{Config: &tls.Config{Certificates: certificates}}, Protocol: labelled("behind")}
		return up.Serve(ctx, conn)
	})
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{
		{Name: "h2", Match: sniff.All(sniff.SNI("both.test"), sniff.ALPN("h2")), Protocol: here},
		{Name: "tls", Select: newRoutes(t, routeTo(here, "*.here.test"), routeTo(behind, "behind.test"))},
	}})
	for _, tt := range []struct {
		name, server string
		alpn         []string
		want         string
	}{
		{"wildcard", "a.b.here.test", nil, "here sni=a.b.here.test:"},
		{"exact", "behind.test", nil, "behind sni=behind.test:"},
		{"server name and ALPN", "both.test", []string{"h2"}, "here:"},
		{"ALPN does not match", "both.test", nil, ""},
	} {
		for _, slow := range []int{0, 150} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					err := serveClient(t, mux, func(nc net.Conn) {
						c := tls.Client(&bytewise{nc, slow}, &tls.Config{ServerName: tt.server, NextProtos: tt.alpn, InsecureSkipVerify: true})
						if err := c.Handshake(); (err == nil) != (tt.want != "") {
							t.Errorf("handshake: got %v", err)
						}
						io.WriteString(c, "hello")
						c.CloseWrite()
						if got, _ := io.ReadAll(c); tt.want != "" && string(got) != tt.want+"hello" {
							t.Errorf("got %q, want %q", got, tt.want+"hello")
						}
					})
					if tt.want == "" && (!errors.Is(err, sniff.ErrNoMatch) || !strings.Contains(err.Error(), `server name "both.test"`)) {
						t.Errorf("got %v, want %v with the server name", err, sniff.ErrNoMatch)
					}
				})
			})
		}
	}
}

// A client whose server name is refused gets the alert for it.
func TestRefuseName(t *testing.T) {
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{{Name: "tls", Select: newRoutes(t, routeTo(sniff.RefuseName()))}}})
	synctest.Test(t, func(t *testing.T) {
		err := serveClient(t, mux, func(nc net.Conn) {
			err := tls.Client(nc, &tls.Config{ServerName: "a.test"}).Handshake()
			if want := "remote error: tls: unrecognized name"; err == nil || err.Error() != want {
				t.Errorf("client: got %v, want %s", err, want)
			}
		})
		if !errors.Is(err, sniff.ErrNoMatch) || reasonOf(err) != conns.BadInput || !strings.Contains(err.Error(), `"a.test"`) {
			t.Errorf("got %v (%v), want %v with the server name", err, reasonOf(err), sniff.ErrNoMatch)
		}
	})
}

// A port accepts connections with and without a PROXY header, and routes both by their server name.
func TestProxyHeaderBeforeClientHello(t *testing.T) {
	routes := sniff.Rule{Name: "tls", Select: newRoutes(t, routeTo(labelled("a"), "a.test"))}
	trusting := proxy.Transport{Inner: transport.TCP{}, Local: proxy.Require}
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{
		{Name: "proxy", Match: sniff.ProxyHeader(), Protocol: &sniff.Upgrade{To: trusting, Protocol: newMux(t, sniff.Config{Rules: []sniff.Rule{routes}})}},
		routes,
	}})
	first := helloFor("a.test")
	for _, header := range []string{"", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			got, err := exchange(t, mux, send(header, first))
			if want := "a sni=a.test a.test :" + first; got != want || err != nil {
				t.Errorf("header %q: got %q, %v, want %q", header, got, err, want)
			}
		})
	}
}

// Select may use the address of the connection.
func TestSelectByAddress(t *testing.T) {
	local := func(conn *transport.Conn, _ []byte) (protocol.Protocol, bool) {
		if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && a.Addr().IsLoopback() {
			return namedEcho("loopback"), false
		}
		return namedEcho("other"), false
	}
	synctest.Test(t, func(t *testing.T) {
		if got, err := exchange(t, newMux(t, sniff.Config{Rules: []sniff.Rule{{Select: local}}}), send("x")); got != "other:x" || err != nil {
			t.Errorf("got %q, %v, want other:x", got, err)
		}
	})
}

// A ClientHello that does not fit into MaxBytes ends the connection, and one that announces more
// than it sends makes the buffer no larger than what it has sent requires.
func TestBufferIsBounded(t *testing.T) {
	largest := 0
	watch := func(first []byte) (match, more bool) {
		largest = max(largest, cap(first)-max(256, 2*len(first)))
		return sniff.SNI("a.test")(first)
	}
	mux := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: watch, Protocol: namedEcho("a")}}})
	for name, tt := range map[string]struct {
		first  string
		reason conns.Reason
	}{
		"40 KiB of extensions":   {records(message(extension(21, strings.Repeat("\x00", 40<<10)), serverName("a.test")), 1<<14), conns.BadInput},
		"announces a record":     {"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", conns.TimedOut},
		"announces 64 KiB":       {"\x16\x03\x01\x00\x04\x01\x00\xff\xf0", conns.TimedOut},
		"announces 16 MiB":       {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", conns.BadInput},
		"130 records of 1 byte":  {records(message(serverName("a.test"), extension(21, strings.Repeat("\x00", 100))), 1), conns.BadInput},
		"a server name too long": {helloFor(strings.Repeat("a", 20<<10)), conns.BadInput},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, err := exchange(t, mux, func(nc net.Conn) { io.WriteString(nc, tt.first) })
			if !errors.Is(err, sniff.ErrNoMatch) || reasonOf(err) != tt.reason {
				t.Errorf("%s: got %v (%v), want %v (%v)", name, err, reasonOf(err), sniff.ErrNoMatch, tt.reason)
			}
		})
	}
	if largest > 0 {
		t.Errorf("got a buffer with %d bytes more than twice the data", largest)
	}
}

// A rule that does not match is not evaluated again when more bytes arrive.
func TestDecidedRules(t *testing.T) {
	evaluations := 0
	rules := []sniff.Rule{
		{Match: func([]byte) (match, more bool) { evaluations++; return false, false }, Protocol: namedEcho("none")},
		{Match: sniff.Prefix(strings.Repeat("x", 100)), Protocol: namedEcho("x")},
	}
	synctest.Test(t, func(t *testing.T) {
		first := strings.Repeat("x", 100)
		if got, err := exchange(t, newMux(t, sniff.Config{Rules: rules}), send(strings.Split(first, "")...)); got != "x:"+first || err != nil {
			t.Errorf("got %q, %v, want x:%s", got, err, first)
		}
	})
	if evaluations != 1 {
		t.Errorf("got %d evaluations of the first rule, want 1", evaluations)
	}
}

func TestPeekClientHello(t *testing.T) {
	peek := protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		_, err := sniff.PeekClientHello(conn)
		return err
	})
	for first, want := range map[string]error{"GET ": protocol.ErrBadInput, hello: io.EOF, helloFor("a.test."): sniff.ErrNoClientHello, "": io.EOF} {
		synctest.Test(t, func(t *testing.T) {
			if _, err := exchange(t, peek, send(first)); !errors.Is(err, want) {
				t.Errorf("%.10q: got %v, want %v", first, err, want)
			}
		})
	}
}
