package transport_test

import (
	"crypto/tls"
	"errors"
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

// wireCount counts the bytes of a client's connection.
type wireCount struct {
	net.Conn
	sent, received uint64
}

func (w *wireCount) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received += uint64(n)
	return n, err
}

func (w *wireCount) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.sent += uint64(n)
	return n, err
}

// Once the TLS connection is used directly, Stats counts all bytes on the wire: those of the
// handshake, which may have brought the first payload with it, and those after it.
func TestTLSConnCountsTheWire(t *testing.T) {
	mem := new(transport.Mem)
	for name, plain := range map[string]transport.Transport{"tcp": transport.TCP{}, "memory": mem} {
		for version, v := range map[string]uint16{"tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13} {
			t.Run(name+" "+version, func(t *testing.T) {
				addr := anyPort(t)
				if plain == mem {
					addr = "wire " + version
				}
				server, nc := connect(t, plain, addr)
				wire, config := &wireCount{Conn: nc}, testTLS()
				config.MaxVersion = v
				client := tls.Client(wire, config)
				ended := make(chan error, 1)
				go func() {
					_, err := io.WriteString(client, "hello")
					if err == nil {
						_, err = io.ReadFull(client, make([]byte, 5))
					}
					ended <- err
				}()
				if err := server.Upgrade(t.Context(), transport.TLS{Config: config}); err != nil {
					t.Fatal(err)
				}
				tc := engine.Of(server).TLSConn(func() {})
				if _, err := io.ReadFull(tc, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(tc, "hello"); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				if st := server.Stats(); st.BytesRead != wire.sent || st.BytesWritten != wire.received {
					t.Errorf("got %d bytes read and %d written, want %d and %d", st.BytesRead, st.BytesWritten, wire.sent, wire.received)
				}
			})
		}
	}
}

// A stop interrupts reads of the TLS connection with its cause. Writes continue.
func TestTLSConnStopReading(t *testing.T) {
	conn, peer := kindNamed("tls1.3").pair(t, transport.TCP{})
	tc := engine.Of(conn).TLSConn(func() {})
	defer tc.Close()
	cause := errors.New("stopped by the test")
	conn.StopReading(cause)
	if _, err := tc.Read(make([]byte, 1)); !errors.Is(err, cause) {
		t.Errorf("Read: got %v, want %v", err, cause)
	}
	go io.WriteString(tc, "hello")
	if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
		t.Errorf("the peer's read: got %v, want no error", err)
	}
}
