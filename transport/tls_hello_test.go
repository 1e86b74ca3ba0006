package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"goranch/transport"
)

// handshakes runs the handshakes of both ends over an in-memory connection.
func handshakes(t *testing.T, server, client *tls.Config) (*transport.Conn, *tls.Conn, error, error) {
	t.Helper()
	a, b := memConns(t)
	conn := transport.NewConn(transport.TLS{Config: server}, b)
	t.Cleanup(func() { conn.Abort(); a.Close() })
	cli := tls.Client(a, client)
	done := async(func() (int64, error) { return 0, cli.Handshake() })
	err := conn.Handshake(t.Context())
	if err != nil {
		conn.Close()
	}
	return conn, cli, err, await(t, "the client's handshake", done).err
}

// The function receives the ClientHello, and its result determines the rest of the handshake.
func TestOnHello(t *testing.T) {
	base := configNamed("base")
	base.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName == "nested" {
			return configNamed("of base"), nil
		}
		return nil, nil
	}
	var at net.Addr
	c := transport.OnHello(base, func(ctx context.Context, h *tls.ClientHelloInfo) (*tls.Config, error) {
		at = h.Conn.RemoteAddr()
		if _, ok := ctx.Deadline(); ok || ctx != h.Context() {
			t.Error("got another context, want that of the handshake")
		}
		return configByHost(h.ServerName)
	})
	for _, tt := range []struct{ name, want, alert string }{
		{name: "localhost", want: "base"},
		{name: "nested", want: "of base"},
		{name: "other", want: "other"},
		{name: "chained", want: "inner"},
		{name: "chained, no answer", want: "outer"},
		{name: "refused", alert: "internal error"},
		{name: "unknown", alert: "unrecognized name"},
	} {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, MaxVersion: v,
				NextProtos: []string{"base", "of base", "other", "outer", "inner"}}
			conn, _, serr, cerr := handshakes(t, c, client)
			if at == nil || at.String() != conn.RemoteAddr().String() {
				t.Errorf("%s: got address %v, want that of the client", tt.name, at)
			}
			if tt.alert != "" {
				if !errors.Is(serr, errReason) || errors.Is(serr, transport.ErrUnknownHost) != (tt.name == "unknown") {
					t.Errorf("%s: got %v, want the reason", tt.name, serr)
				}
				if cerr == nil || !strings.Contains(cerr.Error(), tt.alert) {
					t.Errorf("%s: client: got %v, want the alert", tt.name, cerr)
				}
				continue
			}
			if serr != nil || cerr != nil {
				t.Fatalf("%s: got %v, %v, want no errors", tt.name, serr, cerr)
			}
			if state, _ := conn.TLS(); state.NegotiatedProtocol != tt.want {
				t.Errorf("%s: got configuration %q, want %q", tt.name, state.NegotiatedProtocol, tt.want)
			}
		}
	}
	if base.NextProtos[0] != "base" || transport.OnHello(nil, nil) == nil {
		t.Error("got a changed argument or a nil result, want neither")
	}
}

var errReason = errors.New("not on Sundays")

// configNamed returns a configuration that is recognized by its protocol.
func configNamed(proto string) *tls.Config {
	c := testTLS()
	c.NextProtos = []string{proto}
	return c
}

func configByHost(host string) (*tls.Config, error) {
	chain := func(inner *tls.Config) *tls.Config {
		return transport.OnHello(configNamed("outer"), func(context.Context, *tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil })
	}
	switch host {
	case "other":
		return configNamed("other"), nil
	case "chained":
		return chain(configNamed("inner")), nil
	case "chained, no answer":
		return chain(nil), nil
	case "refused":
		return nil, errReason
	case "unknown":
		return nil, fmt.Errorf("%w: %w", errReason, transport.ErrUnknownHost)
	}
	return nil, nil
}

// With crypto/tls alone, the error arrives as crypto/tls passes it on.
func TestOnHelloWithBareCryptoTLS(t *testing.T) {
	c := transport.OnHello(testTLS(), func(context.Context, *tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, transport.ErrUnknownHost
	})
	a, b := memConns(t)
	defer a.Close()
	defer b.Close()
	done := async(func() (int64, error) { return 0, tls.Client(a, testTLS()).Handshake() })
	wantIs(t, tls.Server(b, c).Handshake(), transport.ErrUnknownHost)
	await(t, "the client", done)
}

// Sessions are resumed, and the function is called for each handshake.
func TestOnHelloKeepsTickets(t *testing.T) {
	asked := 0
	c := transport.OnHello(testTLS(), func(context.Context, *tls.ClientHelloInfo) (*tls.Config, error) {
		asked++
		return nil, nil
	})
	client := testTLS()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	client.MaxVersion = tls.VersionTLS12 // in TLS 1.2 tickets are sent during the handshake
	for i := range 3 {
		conn, _, serr, cerr := handshakes(t, c, client)
		if serr != nil || cerr != nil {
			t.Fatalf("handshake: got %v, %v, want no errors", serr, cerr)
		}
		if state, _ := conn.TLS(); state.DidResume != (i > 0) || asked != i+1 {
			t.Errorf("handshake %d: got resumed %v, %d calls, want all but the first resumed, and a call for each", i, state.DidResume, asked)
		}
	}
}

// A ticket of a host that is served is not accepted for one that is not.
func TestOnHelloRefusesTicketOfAnotherHost(t *testing.T) {
	c := transport.OnHello(testTLS(), func(_ context.Context, h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName != "localhost" {
			return nil, transport.ErrUnknownHost
		}
		return nil, nil
	})
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := new(oneSession)
		client := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, MaxVersion: v, ClientSessionCache: cache}
		for i := range 2 {
			conn, cli, serr, cerr := handshakes(t, c, client)
			if serr != nil || cerr != nil {
				t.Fatalf("handshake: got %v, %v, want no errors", serr, cerr)
			}
			exchange(t, conn, cli) // in TLS 1.3 tickets are sent after the handshake
			if state, _ := conn.TLS(); state.DidResume != (i > 0) {
				t.Fatalf("%s: got resumed %v, want all but the first handshake resumed", tls.VersionName(v), state.DidResume)
			}
		}
		client.ServerName = "elsewhere"
		_, _, err, _ := handshakes(t, c, client)
		wantIs(t, err, transport.ErrUnknownHost)
	}
}

// oneSession stores one session for all hosts.
type oneSession struct{ state *tls.ClientSessionState }

func (s *oneSession) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }
func (s *oneSession) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		s.state = state
	}
}
