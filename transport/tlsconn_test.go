package transport_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// The connection of crypto/tls carries the payload, and the end is reported once, even if the Conn
// was closed or aborted before.
func TestTLSConn(t *testing.T) {
	for name, before := range map[string]func(*transport.Conn){
		"open":    func(*transport.Conn) {},
		"aborted": (*transport.Conn).Abort,
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{})
			closed := 0
			tc := engine.Of(conn).TLSConn(func() { closed++ })
			if tc == nil {
				t.Fatal("TLSConn: got nil, want the connection")
			}
			go io.WriteString(peer, "hello")
			got := make([]byte, 5)
			if _, err := io.ReadFull(tc, got); err != nil || string(got) != "hello" {
				t.Errorf("got %q, %v, want the data sent", got, err)
			}
			if transport.Of(tc) != conn {
				t.Error("Of: got another connection, want the Conn")
			}
			before(conn)
			tc.Close()
			tc.Close()
			conn.Close()
			if closed != 1 {
				t.Errorf("got %d reports of the end, want 1", closed)
			}
		})
	}
}

func TestTLSConnNil(t *testing.T) {
	plain, _ := kindNamed("tcp").pair(t, transport.TCP{})
	if engine.Of(plain).TLSConn(func() {}) != nil {
		t.Error("plain connection: got a TLS connection, want nil")
	}
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{})
	go io.WriteString(peer, "hello")
	if _, err := conn.Peek(1); err != nil {
		t.Fatal(err)
	}
	if engine.Of(conn).TLSConn(func() {}) != nil {
		t.Error("with peeked data: got a TLS connection, want nil")
	}
}

type wrapped struct{ *transport.Conn }

func (w wrapped) TransportConn() *transport.Conn { return w.Conn }

func TestOf(t *testing.T) {
	conn, _ := kindNamed("tcp").pair(t, transport.TCP{})
	other, end := net.Pipe()
	defer other.Close()
	defer end.Close()
	for _, tt := range []struct {
		name string
		nc   net.Conn
		want *transport.Conn
	}{
		{"nil", nil, nil},
		{"itself", conn, conn},
		{"wrapped", wrapped{conn}, conn},
		{"below TLS", tls.Server(wrapped{conn}, nil), conn},
		{"another kind", other, nil},
		{"another kind below TLS", tls.Server(other, nil), nil},
	} {
		if got := transport.Of(tt.nc); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
