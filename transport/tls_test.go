package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"goranch/internal/listenaddr"
	"goranch/transport"
)

func TestTLSListenWithoutCertificate(t *testing.T) {
	path := socketPath(t)
	for what, c := range map[string]*tls.Config{
		"nil":                nil,
		"empty":              {},
		"only client's ones": {GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }},
	} {
		_, err := transport.TLS{Config: c}.Listen(t.Context(), path)
		if err != transport.ErrNoCertificate {
			t.Errorf("%s: got %v, want ErrNoCertificate", what, err)
		}
	}
	listen(t, transport.TCP{}, path) // no socket was left open

	cert := testTLS().Certificates[0]
	for what, c := range map[string]*tls.Config{
		"Certificates":       {Certificates: []tls.Certificate{cert}},
		"GetCertificate":     {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }},
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return testTLS(), nil }},
	} {
		ln := listen(t, transport.TLS{Config: c}, "127.0.0.1:0")
		srv, cli := connectTo(t, bothEnds{transport.TLS{Config: c}, transport.TLS{Config: testTLS()}}, ln)
		if _, ok := srv.TLS(); !ok {
			t.Errorf("%s: got no TLS, want it", what)
		}
		exchange(t, srv, cli)
	}
}

// bothEnds dials with another transport than it listens with.
type bothEnds struct {
	transport.Transport
	client transport.Transport
}

func (b bothEnds) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return b.client.Dial(ctx, addr)
}

func TestTLSState(t *testing.T) {
	c := testTLS()
	c.NextProtos = []string{"ranch"}
	tr := transport.TLS{Config: c}
	srv, cli := connect(t, tr, "127.0.0.1:0")
	state, ok := srv.TLS()
	if !ok || !state.HandshakeComplete || state.NegotiatedProtocol != "ranch" || state.ServerName != "localhost" {
		t.Errorf("got %v, %+v, want the state of TLS", ok, state)
	}
	if cs := cli.(*tls.Conn).ConnectionState(); cs.NegotiatedProtocol != "ranch" || len(cs.PeerCertificates) != 1 {
		t.Errorf("client: got %+v, want the state of TLS", cs)
	}

	ln := listen(t, tr, "127.0.0.1:0")
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, ok := accept(t, tr, ln).TLS(); ok {
		t.Error("TLS before the handshake: got a state, want none")
	}
}

// The certificate must be valid for the host of the address.
func TestTLSDialName(t *testing.T) {
	client := func(name string) transport.TLS {
		_, pool := certificate()
		return transport.TLS{Config: &tls.Config{RootCAs: pool, ServerName: name}}
	}
	server := transport.TLS{Config: testTLS()}
	for _, tt := range []struct {
		addr, name, wantSNI string
		fails               any
	}{
		{addr: "127.0.0.1:0"}, // an IP address is verified, but not sent as SNI
		{addr: "[::1]:0"},
		{addr: "127.0.0.1:0", name: "localhost", wantSNI: "localhost"},
		{addr: "127.0.0.1:0", name: "elsewhere", fails: new(x509.HostnameError)},
	} {
		ln := listen(t, server, tt.addr)
		dialled := make(chan error, 1)
		cli := client(tt.name)
		go func() {
			nc, err := cli.Dial(t.Context(), listenaddr.String(ln.Addr()))
			if err == nil {
				defer nc.Close()
			}
			dialled <- err
		}()
		srv := accept(t, server, ln)
		err := srv.Handshake(t.Context())
		state, _ := srv.TLS()
		if derr := <-dialled; tt.fails != nil {
			if !errors.As(derr, tt.fails) {
				t.Errorf("%+v: Dial: got %v, want an error of that type", tt, derr)
			}
		} else if err != nil || derr != nil || state.ServerName != tt.wantSNI {
			t.Errorf("%+v: got %v, %v, SNI %q, want no errors and that SNI", tt, err, derr, state.ServerName)
		}
		srv.Abort()
		if cli.Config.ServerName != tt.name {
			t.Errorf("%+v: Dial: got a changed configuration, want it unchanged", tt)
		}
	}
}

// A Unix socket has no host. A client that verifies the server must name it, and the error says so.
func TestTLSDialUnixHasNoName(t *testing.T) {
	server := transport.TLS{Config: testTLS()}
	ln := listen(t, server, socketPath(t)+":443") // a path nevertheless
	addr := listenaddr.String(ln.Addr())
	_, pool := certificate()
	done := async(func() (int64, error) {
		nc, err := transport.TLS{Config: &tls.Config{RootCAs: pool}}.Dial(t.Context(), addr)
		if err == nil {
			nc.Close()
		}
		return 0, err
	})
	srv := accept(t, server, ln)
	shaking := async(func() (int64, error) { return 0, srv.Handshake(t.Context()) })
	err := await(t, "Dial", done).err
	await(t, "Handshake", shaking)
	if err == nil || errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("without a name: got %v, want an error that says so", err)
	}

	// No name is sent as SNI either.
	done = async(func() (int64, error) {
		nc, err := transport.TLS{Config: &tls.Config{InsecureSkipVerify: true}}.Dial(t.Context(), addr)
		if err == nil {
			nc.Close()
		}
		return 0, err
	})
	srv = accept(t, server, ln)
	if err := srv.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, _ := srv.TLS(); state.ServerName != "" {
		t.Errorf("SNI: got %q, want none", state.ServerName)
	}
	if err := await(t, "Dial", done).err; err != nil {
		t.Error(err)
	}
}

// A client that sends nothing ends the handshake when the context ends.
func TestTLSHandshakeTimeout(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	for _, prefix := range []string{"", "\x16\x03\x01\x00\x80\x01"} { // nothing, and the beginning of a ClientHello
		cli, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		io.WriteString(cli, prefix)
		srv := accept(t, tr, ln)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		err = srv.Handshake(ctx)
		cancel()
		wantIs(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d < 20*time.Millisecond || d > testTimeout {
			t.Errorf("got the end after %v, want it at the limit", d)
		}
		if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: got %v, want no error", err)
		}
		if _, ok := srv.TLS(); ok {
			t.Error("TLS after a failed handshake: got a state, want none")
		}
	}
}

func TestTLSDialTimeout(t *testing.T) {
	ln := listen(t, transport.TCP{}, "127.0.0.1:0") // accepts and sends nothing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := transport.TLS{Config: testTLS()}.Dial(ctx, listenaddr.String(ln.Addr()))
	wantIs(t, err, context.DeadlineExceeded)
	// The socket was closed.
	srv := accept(t, transport.TCP{}, ln)
	srv.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{srv}); err != nil {
		t.Error(err)
	}
}

func TestPlainTextToTLS(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	cli, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	io.WriteString(cli, "GET / HTTP/1.1\r\n\r\n")
	err = accept(t, tr, ln).Handshake(t.Context())
	var rh tls.RecordHeaderError
	if !errors.As(err, &rh) {
		t.Errorf("handshake: got %#v, want a tls.RecordHeaderError", err)
	}
}

func TestPeerClosesDuringHandshake(t *testing.T) {
	tr := transport.TLS{Config: testTLS()}
	ln := listen(t, tr, "127.0.0.1:0")
	for what, leave := range map[string]func(*net.TCPConn){
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"close": func(c *net.TCPConn) { c.Close() },
		"reset in the hello": func(c *net.TCPConn) {
			c.Write([]byte("\x16\x03\x01\x00\x80\x01"))
			c.SetLinger(0)
			c.Close()
		},
	} {
		cli, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		srv := accept(t, tr, ln)
		done := async(func() (int64, error) { return 0, srv.Handshake(context.Background()) })
		waitBlocked(t, 1, "transport.(*Conn).Handshake(")
		leave(cli.(*net.TCPConn))
		if r := await(t, "Handshake", done); r.err == nil {
			t.Errorf("%s: handshake: got no error, want one", what)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("%s: Close: got %v, want no error", what, err)
		}
	}
}
