package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

func TestFromListener(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		addr := "127.0.0.1:0"
		if network == "unix" {
			addr = strings.TrimPrefix(socketPath(t), "unix:")
		}
		inner, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		tr := transport.FromListener(inner)
		if tr.Name() != network || tr.Secure() || !engine.Plain(tr) {
			t.Errorf("%s: got name %q, secure %v, plain %v, want the network, false, true", network, tr.Name(), tr.Secure(), engine.Plain(tr))
		}

		if _, ok := tr.(transport.PortSharer); ok {
			t.Errorf("%s: got a PortSharer, want none: the listener is open already", network)
		}

		ln, err := tr.Listen(t.Context(), "ignored")
		if err != nil || ln != inner {
			t.Fatalf("%s: Listen: got %v, %v, want the listener", network, ln, err)
		}
		srv, cli := connectTo(t, tr, ln)
		exchange(t, srv, cli)

		for range 2 {
			_, err = tr.Listen(t.Context(), "")
			wantIs(t, err, errors.ErrUnsupported)
		}
		ln.Close()
		_, err = tr.Listen(t.Context(), "")
		wantIs(t, err, errors.ErrUnsupported)
		if nc, err := tr.Dial(t.Context(), ""); err == nil {
			nc.Close()
			t.Errorf("%s: Dial to a closed listener: got no error, want one", network)
		}
	}
}

// Connections of a given listener have the send timeout of TCP.
func TestFromListenerSendTimeout(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	tr := transport.FromListener(inner)
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		c := transport.NewConn(tr, a)
		start := time.Now()
		_, err := c.Write([]byte("x"))
		wantSendTimeout(t, "Write", err)
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("got the send timeout after %v, want 30s", d)
		}
	})
}

// own is a transport of a user: TCP with another Handshake.
type own struct {
	transport.TCP
	handshake func(nc net.Conn) (net.Conn, error)
}

func (own) Name() string { return "own" }
func (o own) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	return o.handshake(nc)
}

// The connection given to Handshake leads to the accepted one, and the connection that it returns
// carries the payload.
func TestOwnTransport(t *testing.T) {
	var accepted net.Conn
	tr := own{handshake: func(nc net.Conn) (net.Conn, error) {
		accepted = nc.(interface{ NetConn() net.Conn }).NetConn()
		return rot{nc}, nil
	}}
	srv, cli := connect(t, tr, "127.0.0.1:0")
	if srv.NetConn() != accepted {
		t.Errorf("Handshake got %T, NetConn returns %T, want the same connection", accepted, srv.NetConn())
	}
	if _, ok := srv.TLS(); ok {
		t.Error("TLS: got a state, want none")
	}
	echo := async(func() (int64, error) { return srv.WriteTo(srv) })
	for _, text := range []string{"a", "bc", "def"} {
		io.WriteString(cli, text)
		p := make([]byte, len(text))
		if _, err := io.ReadFull(cli, p); err != nil || string(p) != text { // to the server and back
			t.Errorf("echo of %q: got %q, %v, want the same", text, p, err)
		}
	}
	srv.Write([]byte("a"))
	p := make([]byte, 1)
	if io.ReadFull(cli, p); string(p) != "n" {
		t.Errorf("on the wire: got %q, want it changed by the transport", p)
	}
	closeWrite(t, cli)
	if r := await(t, "the echo", echo); r.n != 6 || r.err != nil {
		t.Errorf("echo: got %d, %v, want all bytes", r.n, r.err)
	}
	// It has no CloseWrite: that of the socket would bypass the transport.
	wantIs(t, srv.CloseWrite(), errors.ErrUnsupported)
}

// rot adds 13 to each byte written, and subtracts it from each byte read.
type rot struct{ net.Conn }

func (r rot) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	for i := range p[:n] {
		p[i] -= 13
	}
	return n, err
}

func (r rot) Write(p []byte) (int, error) {
	q := make([]byte, len(p))
	for i, b := range p {
		q[i] = b + 13
	}
	return r.Conn.Write(q)
}

// After a failed handshake the connection can be closed, and the error is that of the transport.
func TestOwnTransportFails(t *testing.T) {
	errOwn := errors.New("wrong password")
	tr := own{handshake: func(net.Conn) (net.Conn, error) { return nil, errOwn }}
	ln := listen(t, tr, "127.0.0.1:0")
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	srv := accept(t, tr, ln)
	if err := srv.Handshake(t.Context()); err != errOwn {
		t.Errorf("Handshake: got %v, want the error of the transport", err)
	}
	if err := srv.Close(); err != nil {
		t.Errorf("Close: got %v, want no error", err)
	}
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("peer: got %v, want EOF", err)
	}
}

// A transport that runs TLS on the accepted connection itself, not on the one passed to Handshake,
// loses only the send timeout: data that has arrived is delivered without waiting for more.
func TestOwnTLSOnAcceptedConn(t *testing.T) {
	tr := own{handshake: func(nc net.Conn) (net.Conn, error) {
		bare := nc.(interface{ NetConn() net.Conn }).NetConn()
		tc := tls.Server(bare, testTLS())
		return tc, tc.Handshake()
	}}
	ln := listen(t, tr, "127.0.0.1:0")
	srv, cli := connectTo(t, bothEnds{tr, transport.TLS{Config: testTLS()}}, ln)
	echo := async(func() (int64, error) { return srv.WriteTo(srv) })
	for _, size := range []int{1, 2, 1, 1000, 1, 20_000} {
		sent := asyncWrite(cli, fill(make([]byte, size), 0))
		cli.SetReadDeadline(time.Now().Add(testTimeout))
		if _, err := io.CopyN(new(checker), cli, int64(size)); err != nil {
			t.Fatalf("%d bytes: got %v, want them returned", size, err)
		}
		await(t, "the client's write", sent)
	}
	if _, ok := srv.TLS(); !ok {
		t.Error("TLS: got no state, want one")
	}
	closeWrite(t, cli)
	if r := await(t, "the echo", echo); r.err != nil {
		t.Error(r.err)
	}
}
