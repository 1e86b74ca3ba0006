package transport

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// A read that RequestPark interrupts between two records, or after it has received a part of one,
// returns ErrPark, and the connection delivers all data afterwards.
func TestCryptoTLSSurvivesRequestPark(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			conn, cli := newServedTLS(t, version)
			socket := cli.NetConn().(*recordConn).Conn
			r := engine.Of(conn).PooledReader(nil)
			defer r.Release()
			for _, sent := range []int{0, 1, 4, 5, 6, 100, tlsPayload} {
				record := newRecord(t, cli)
				writeAll(t, socket, record[:sent])
				waitFor(t, "the data to arrive", func() bool { return conn.available() == int64(sent) })
				expectPark(t, conn, r)
				expectPark(t, conn, r) // the second interruption is inside the same record
				writeAll(t, socket, record[sent:])
				got := 0
				for got < tlsPayload {
					b, err := r.Next(engine.ReadSize)
					if err != nil {
						t.Fatalf("after an interruption at %d bytes: got %v, want the record", sent, err)
					}
					got += len(b)
				}
				if got != tlsPayload {
					t.Errorf("after an interruption at %d bytes: got %d bytes, want %d", sent, got, tlsPayload)
				}
			}
		})
	}
}

// expectPark interrupts a call of Next after it has read all data from the socket.
func expectPark(t *testing.T, conn *Conn, r engine.PooledReader) {
	t.Helper()
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		b, err := r.Next(engine.ReadSize)
		done <- result{b, err}
	}()
	waitFor(t, "the data to be read", func() bool { return conn.available() == 0 })
	if !engine.Of(conn).RequestPark() {
		t.Fatal("RequestPark: got false, want true")
	}
	if got := <-done; len(got.data) > 0 || got.err != idle.ErrPark {
		t.Fatalf("Next: got %q, %v, want ErrPark", got.data, got.err)
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout while waiting for %s", what)
		}
	}
}

func writeAll(t *testing.T, nc net.Conn, b []byte) {
	t.Helper()
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// newServedTLS returns the server's Conn over a TCP socket, and its client over a recordConn.
func newServedTLS(t *testing.T, version uint16) (*Conn, *tls.Conn) {
	t.Helper()
	serverConfig, clientConfig := tlsConfigs(t, version)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := NewConn(TLS{Config: serverConfig}, server)
	t.Cleanup(conn.Abort)
	cli := tls.Client(&recordConn{Conn: client}, clientConfig)
	handshake := make(chan error, 1)
	go func() { handshake <- cli.Handshake() }()
	if err := conn.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-handshake; err != nil {
		t.Fatal(err)
	}
	return conn, cli
}

// recordConn can store written data instead of sending it.
type recordConn struct {
	net.Conn
	store  bool
	stored []byte
}

func (c *recordConn) Write(p []byte) (int, error) {
	if !c.store {
		return c.Conn.Write(p)
	}
	c.stored = append(c.stored, p...)
	return len(p), nil
}

// newRecord returns an encrypted record of the client that has not been sent.
func newRecord(t *testing.T, cli *tls.Conn) []byte {
	t.Helper()
	c := cli.NetConn().(*recordConn)
	c.store = true
	defer func() { c.store, c.stored = false, nil }()
	if _, err := cli.Write(make([]byte, tlsPayload)); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(c.stored)
}
