package oteltrace_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"goranch/conns"
	"goranch/internal/termtext"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/oteltrace"
	"goranch/transport"
)

// serve starts a listener whose connections are observed, and returns what the first one was.
func serve(t *testing.T, tr transport.Transport, addr string, rec *recorder, p protocol.Protocol, client func(addr string)) (conn, handshake *span) {
	t.Helper()
	var s ranch.Server
	done := make(chan struct{}, 10)
	observe := oteltrace.Observer(rec)
	s.Observe(func(e ranch.Event) {
		if observe(e); e.Kind == ranch.ConnEnded {
			done <- struct{}{}
		}
	})
	l, err := s.StartListener("a", tr, ranch.Options{Addr: addr, HandshakeTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	client(l.Addr().String())
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("got no end of a connection for 20 s, want one")
	}
	if all := rec.ended("connection"); len(all) == 1 {
		conn = all[0]
	} else {
		t.Fatalf("got %d spans of connections, want 1", len(all))
	}
	if all := rec.ended("handshake"); len(all) == 1 {
		handshake = all[0]
	}
	return conn, handshake
}

var echo = protocol.Func(func(_ context.Context, c *transport.Conn) error { _, err := io.Copy(c, c); return err })

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestTLSConnection(t *testing.T) {
	conn, handshake := serve(t, transport.TLS{Config: testTLS(t)}, "127.0.0.1:0", new(recorder), echo, func(addr string) {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("ping"))
		io.ReadFull(c, make([]byte, 4))
	})
	for key, want := range map[string]string{
		"goranch.listener": "a", "goranch.reason": "finished", "goranch.received_bytes": "4", "goranch.sent_bytes": "4",
		"client.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "server.address": "127.0.0.1",
		"network.transport": "tcp", "tls.protocol.version": "1.3", "tls.resumed": "false", "tls.client.server_name": "example.com",
	} {
		v := conn.attributes[attribute.Key(key)]
		if got := v.String(); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if conn.status != codes.Unset || conn.parent != nil || !conn.config.NewRoot() {
		t.Errorf("got the status %v, want none, and a root", conn.status)
	}
	if handshake == nil || handshake.parent != conn || !handshake.start.Equal(conn.start) || !handshake.end.After(handshake.start) || handshake.end.After(conn.end) {
		t.Errorf("got the handshake %+v, want one at the beginning of %+v", handshake, conn)
	}
}

// slowTransport is a transport in memory whose handshake takes a second, and may fail.
type slowTransport struct {
	*transport.Mem
	err error
}

func (s slowTransport) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	time.Sleep(time.Second)
	return nc, s.err
}

func TestTimesAndStatus(t *testing.T) {
	bad := errors.New("bad " + strings.Join(termtext.Nasty, ""))
	for _, tc := range []struct {
		name      string
		shake     error
		serve     error
		connError bool
		handshake codes.Code
		duration  time.Duration
	}{
		{"finished", nil, nil, false, codes.Unset, 3 * time.Second},
		{"failed", nil, bad, true, codes.Unset, 3 * time.Second},
		{"handshake failed", bad, nil, true, codes.Error, time.Second},
		{"shutdown in the handshake", protocol.ErrShutdown, nil, false, codes.Unset, time.Second},
		{"refused", conns.RefusedAddress, nil, false, codes.Unset, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(transport.Mem)
				p := protocol.Func(func(context.Context, *transport.Conn) error { time.Sleep(2 * time.Second); return tc.serve })
				conn, handshake := serve(t, slowTransport{mem, tc.shake}, "a", new(recorder), p, func(string) {
					c, err := mem.Dial(t.Context(), "a")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
				})
				if d := conn.end.Sub(conn.start); d != tc.duration || (conn.status == codes.Error) != tc.connError {
					t.Errorf("connection: got %v and the status %v, want %v and an error: %v", d, conn.status, tc.duration, tc.connError)
				}
				if handshake == nil || handshake.status != tc.handshake || handshake.end.Sub(handshake.start) != time.Second {
					t.Errorf("got the handshake %+v, want one of a second with the status %v", handshake, tc.handshake)
				}
				for _, forbidden := range termtext.Forbidden {
					if strings.Contains(conn.text, forbidden) {
						t.Errorf("got the description %q, want it without %q", conn.text, forbidden)
					}
				}
			})
		})
	}
}

// Plain TCP has no handshake. A span that is not recorded gets no attributes besides the listener.
func TestNotRecorded(t *testing.T) {
	conn, handshake := serve(t, transport.TCP{}, "127.0.0.1:0", &recorder{dropAll: true}, echo, func(addr string) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	if len(conn.attributes) != 1 || handshake != nil {
		t.Errorf("got the attributes %v and the handshake %v, want only goranch.listener", conn.attributes, handshake)
	}
	_, handshake = serve(t, transport.TCP{}, "127.0.0.1:0", new(recorder), echo, func(addr string) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	if handshake != nil {
		t.Errorf("plain TCP: got the handshake %+v, want none", handshake)
	}
}
