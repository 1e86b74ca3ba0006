package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

const (
	tlsPayload    = 1000
	tlsRecordSize = tlsPayload + 256 // larger than a record with that payload
)

// TestCryptoTLSSurvivesTemporaryReadErrors guards an assumption about crypto/tls that its
// documentation does not state: after a read from the underlying connection failed with an error
// whose Temporary method returns true, the tls.Conn can be read again, and no byte is lost, also if
// the error occurred inside a record. tlsReader relies on it for errWouldBlock, and parking for the
// expired deadline that interrupts a read.
func TestCryptoTLSSurvivesTemporaryReadErrors(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name string
			err  error
		}{
			{"errWouldBlock", errWouldBlock},
			{"deadline", &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}},
		} {
			t.Run(tls.VersionName(version)+" "+c.name, func(t *testing.T) { checkTemporaryErrors(t, version, c.err) })
		}
	}
}

// checkTemporaryErrors interrupts the server's reads after each number of bytes from 0, which is
// between two records, to more than a whole record.
func checkTemporaryErrors(t *testing.T, version uint16, temporary error) {
	cut := &cutConn{err: temporary, left: -1}
	srv, cli := newTLSPair(t, version, func(nc net.Conn) net.Conn { cut.Conn = nc; return cut })
	want := bytes.Repeat([]byte("x"), tlsPayload)
	got := make([]byte, tlsPayload)
	for i := range tlsRecordSize {
		cut.left = i
		want[0] = byte(i)
		if _, err := cli.Write(want); err != nil {
			t.Fatal(err)
		}
		n, err := srv.Read(got)
		if err == nil && n < len(got) && cut.left >= 0 {
			t.Fatalf("read after %d bytes: got %d bytes and no error, want %v", i, n, temporary)
		}
		if err != nil && (n > 0 || !errors.Is(err, temporary)) {
			t.Fatalf("read after %d bytes: got %d, %v, want %v", i, n, err, temporary)
		}
		cut.left = -1
		if _, err := io.ReadFull(srv, got[n:]); err != nil {
			t.Fatalf("next read after %d bytes: got %v, want the record", i, err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("interruption after %d bytes: got other data, want the data sent", i)
		}
	}
	if !cut.used {
		t.Error("got no interrupted read, want some")
	}
}

// cutConn fails reads with err after left bytes; -1 is no limit.
type cutConn struct {
	net.Conn
	err  error
	left int
	used bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	switch {
	case c.left < 0:
		return c.Conn.Read(p)
	case c.left == 0:
		c.used = true
		return 0, c.err
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// newTLSPair returns both ends of a TLS connection, the server's above wrap of its socket.
func newTLSPair(t *testing.T, version uint16, wrap func(net.Conn) net.Conn) (srv, cli *tls.Conn) {
	t.Helper()
	serverConfig, clientConfig := tlsConfigs(t, version)
	mem := new(Mem)
	ln, err := mem.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := mem.Dial(context.Background(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	srv, cli = tls.Server(wrap(server), serverConfig), tls.Client(client, clientConfig)
	handshake := make(chan error, 1)
	go func() { handshake <- cli.Handshake() }()
	if err := srv.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-handshake; err != nil {
		t.Fatal(err)
	}
	return srv, cli
}

func tlsConfigs(t *testing.T, version uint16) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: version, MaxVersion: version}
	client = &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	return server, client
}
