package sniff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"testing"

	"goranch/protocol"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// newRoutesServer serves TLS by server name and ALPN, and reports the names of other protocols that
// it recognizes.
func newRoutesServer(t *testing.T) (l *ranch.Listener, recognized chan string) {
	t.Helper()
	recognized = make(chan string, 10)
	report := func(name string) protocol.Protocol {
		return protocol.Func(func(context.Context, *transport.Conn) error {
			select {
			case recognized <- name:
			default: // a client that connects again and again
			}
			return nil
		})
	}
	terminate := func(p protocol.Protocol, alpn ...string) protocol.Protocol {
		return &sniff.Upgrade{To: transport.TLS{Config: &tls.Config{Certificates: testCertificates(), NextProtos: alpn}}, Protocol: p}
	}
	routes := newRoutes(t,
		sniff.Route{ServerNames: []string{"a.test"}, ALPN: []string{"h2"}, Protocol: terminate(labelled("a with h2"), "h2")},
		sniff.Route{ServerNames: []string{"a.test"}, Protocol: terminate(labelled("a"))},
		sniff.Route{ServerNames: []string{"*.test"}, Protocol: terminate(labelled("test"))},
		sniff.Route{ServerNames: []string{""}, Protocol: terminate(labelled("no name"))},
	)
	trusting := proxy.Transport{Inner: transport.TCP{}, Rules: []proxy.Rule{{Net: netip.MustParsePrefix("127.0.0.0/8")}}}
	behindProxy := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.HTTP1(), Protocol: report("HTTP after a PROXY header")}}})
	mux := newMux(t, sniff.Config{
		Rules: []sniff.Rule{
			{Name: "tls", Select: routes},
			{Name: "proxy", Match: sniff.ProxyHeader(), Protocol: &sniff.Upgrade{To: trusting, Protocol: behindProxy}},
			{Name: "socks4", Match: sniff.SOCKS4(), Protocol: report("SOCKS 4")},
			{Name: "socks5", Match: sniff.SOCKS5(), Protocol: report("SOCKS 5")},
			{Name: "mqtt", Match: sniff.MQTT(), Protocol: report("MQTT")},
			{Name: "postgres", Match: sniff.Postgres(), Protocol: report("Postgres")},
		},
		Default: report("unknown"),
	})
	l, err := new(ranch.Server).StartListener("routes", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: quiet}, mux)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
	})
	return l, recognized
}

// Clients of the operating system are recognized. Their own results do not matter.
func TestRecognizedClients(t *testing.T) {
	for _, tt := range []struct {
		want, program, debianPackage string
		args                         []string // {addr}, {host} and {port} are replaced
	}{
		{"SOCKS 4", "curl", "curl", []string{"-s", "-m", "30", "--noproxy", "", "--socks4", "{addr}", "http://192.0.2.1"}},
		{"SOCKS 5", "curl", "curl", []string{"-s", "-m", "30", "--noproxy", "", "--socks5", "{addr}", "http://192.0.2.1"}},
		{"HTTP after a PROXY header", "curl", "curl", []string{"-s", "-m", "30", "--noproxy", "*", "--haproxy-protocol", "http://{addr}"}},
		{"MQTT", "mosquitto_pub", "mosquitto-clients", []string{"-h", "{host}", "-p", "{port}", "-t", "x", "-m", "x"}},
		{"Postgres", "psql", "postgresql-client", []string{"host={host} port={port} user=x dbname=x sslmode=disable", "-c", ""}},
		{"Postgres", "psql", "postgresql-client", []string{"host={host} port={port} user=x dbname=x sslmode=require", "-c", ""}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			path := need(t, tt.program, tt.debianPackage)
			l, recognized := newRoutesServer(t)
			out, err := command(t, path, argsFor(l, tt.args)...).CombinedOutput()
			select {
			case got := <-recognized:
				if got != tt.want {
					t.Errorf("%s: got %q, want %q", tt.program, got, tt.want)
				}
			default:
				t.Errorf("%s: got no protocol, want %q; it ended with %v:\n%s", tt.program, tt.want, err, out)
			}
		})
	}
}

// The server name and ALPN of OpenSSL select the server.
func TestRoutesOpenSSL(t *testing.T) {
	path := need(t, "openssl", "openssl")
	l, _ := newRoutesServer(t)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"a with h2 sni=a.test:", []string{"-servername", "A.test", "-alpn", "http/1.1,h2"}},
		{"test sni=x.y.test:", []string{"-servername", "x.y.test"}},
		{"no name:", []string{"-noservername"}},
	} {
		cmd := command(t, path, append([]string{"s_client", "-quiet", "-connect", l.Addr().String()}, tt.args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe() // stays open: at its end the client may close before it prints
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(tt.want))
		n, err := io.ReadFull(stdout, got)
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if string(got[:n]) != tt.want {
			t.Errorf("openssl s_client %q: got %q, %v, want %q\n%s", tt.args, got[:n], err, tt.want, stderr.String())
		}
	}
}
