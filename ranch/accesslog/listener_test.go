package accesslog_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/transport"
)

// buffer is a destination that the test may read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// summary is a line without what differs from run to run.
type summary struct {
	Listener, Transport, Reason, Error string
	Received, Sent                     uint64
	Served                             bool
	TLS                                *tlsSummary
	Labels                             map[string]string
}

type tlsSummary struct{ Version, SNI, ALPN, Client string }

// testServer is a listener of TLS with an access log.
type testServer struct {
	*ranch.Listener
	t   *testing.T
	log *accesslog.Log
	buf buffer
	tls *tls.Config
}

func newTestServer(t *testing.T, opts ranch.Options, p protocol.Protocol) *testServer {
	t.Helper()
	s := &testServer{t: t, tls: testConfig(t)}
	var err error
	if s.log, err = accesslog.New(&s.buf, accesslog.Options{}); err != nil {
		t.Fatal(err)
	}
	opts.Addr, opts.Observer, opts.Logger = "127.0.0.1:0", s.log.Observe, slog.New(slog.DiscardHandler)
	if s.Listener, err = new(ranch.Server).StartListener("test", transport.TLS{Config: s.tls}, opts, p); err != nil {
		t.Fatal(err)
	}
	return s
}

// stop stops the listener and returns its lines in the order of the connections.
func (s *testServer) stop() []summary {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.Stop()
	if err := s.log.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
	var all []summary
	for d := json.NewDecoder(&s.buf.b); d.More(); {
		var one summary
		if err := d.Decode(&one); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// testConfig returns the configuration of a server and its clients, which have the same
// certificate.
func testConfig(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ann"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"example.org"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientCAs: pool, RootCAs: pool,
		ClientAuth: tls.VerifyClientCertIfGiven, ServerName: "example.org", NextProtos: []string{"echo"},
	}
}

// Each connection has a line when it has ended, with what was sent and received and the state of
// TLS: one that was served, one whose handshake failed, and one that an operator has ended.
func TestLinesOfAListener(t *testing.T) {
	s := newTestServer(t, ranch.Options{}, protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		conn.SetLabel("user", "ann")
		_, err := io.Copy(conn, conn)
		return err
	}))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ended := func(n int) {
		t.Helper()
		if err := s.WaitForConnections(ctx, ranch.Equal, 0); err != nil {
			t.Fatal(err)
		}
		for s.Info().Terminated < uint64(n) {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("got %d ends, want %d", s.Info().Terminated, n)
			}
		}
	}
	dial := func() *tls.Conn {
		nc, err := tls.Dial("tcp", s.Addr().String(), s.tls)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		nc.Write([]byte("hello"))
		io.ReadFull(nc, make([]byte, 5))
		return nc
	}
	nc := dial()
	nc.CloseWrite()
	io.Copy(io.Discard, nc)
	nc.Close()
	ended(1)
	plain, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plain.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	io.Copy(io.Discard, plain)
	plain.Close()
	ended(2)
	nc = dial()
	s.End(conns.Query{})
	io.Copy(io.Discard, nc)
	nc.Close()
	ended(3)
	secure := &tlsSummary{"TLS 1.3", "example.org", "echo", "CN=ann"}
	user := map[string]string{"user": "ann"}
	want := []summary{
		{Listener: "test", Transport: "tls", Reason: "finished", Received: 5, Sent: 5, Served: true, TLS: secure, Labels: user},
		{Listener: "test", Transport: "tls", Reason: "handshake failed"},
		{Listener: "test", Transport: "tls", Reason: "ended by an operator", Received: 5, Sent: 5, Served: true, TLS: secure, Labels: user},
	}
	got := s.stop()
	for i := range got {
		if hasError := got[i].Error != ""; hasError != (i > 0) {
			t.Errorf("line %d: got error %q, want one of all but the first", i, got[i].Error)
		}
		got[i].Error = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
