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
			t.Errorf("%s: name %q, secure %v, plain %v", network, tr.Name(), tr.Secure(), engine.Plain(tr))
		}

		if _, ok := tr.(transport.PortSharer); ok {
			t.Errorf("%s: got a PortSharer, want none: the listener is open already", network)
		}

		ln, err := tr.Listen(t.Context(), "ignored")
		if err != nil || ln != inner {
			t.Fatalf("%s: Listen returns %v, %v", network, ln, err)
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
			t.Errorf("%s: Dial reaches a closed listener", network)
		}
	}
}

// Connections of a foreign listener have the send timeout of TCP.
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
			t.Errorf("after %v", d)
		}
	})
}

// own is a transport of a user's: TCP with a Handshake of its own.
type own struct {
	transport.TCP
	handshake func(nc net.Conn) (net.Conn, error)
}

func (own) Name() string { return "own" }
func (o own) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	return o.handshake(nc)
}

// What a handshake is given leads to the connection that was accepted, and what it
// returns is what the payload goes through.
func TestOwnTransport(t *testing.T) {
	var accepted net.Conn
	tr := own{handshake: func(nc net.Conn) (net.Conn, error) {
		accepted = nc.(interface{ NetConn() net.Conn }).NetConn()
		return rot{nc}, nil
	}}
	srv, cli := connect(t, tr, "127.0.0.1:0")
	if srv.NetConn() != accepted {
		t.Errorf("the handshake saw %T, NetConn is %T", accepted, srv.NetConn())
	}
	if _, ok := srv.TLS(); ok {
		t.Error("TLS out of nowhere")
	}
	echo := async(func() (int64, error) { return srv.WriteTo(srv) })
	for _, text := range []string{"a", "bc", "def"} {
		io.WriteString(cli, text)
		p := make([]byte, len(text))
		if _, err := io.ReadFull(cli, p); err != nil || string(p) != text { // there and back
			t.Errorf("%q came back as %q, %v", text, p, err)
		}
	}
	srv.Write([]byte("a"))
	p := make([]byte, 1)
	if io.ReadFull(cli, p); string(p) != "n" {
		t.Errorf("written past the transport: %q", p)
	}
	closeWrite(t, cli)
	if r := await(t, "the echo", echo); r.n != 6 || r.err != nil {
		t.Errorf("the echo: %d, %v", r.n, r.err)
	}
	// It cannot be closed by halves, and is not: that would pass the transport by.
	wantIs(t, srv.CloseWrite(), errors.ErrUnsupported)
}

// rot adds 13 to what goes out and takes it off what comes in.
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

// A failed handshake leaves the connection to be closed, with its own error.
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
		t.Errorf("Handshake: %v", err)
	}
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer: %v", err)
	}
}

// A transport that puts TLS on the accepted connection itself, not on what it was
// given, loses the send timeout but nothing else: what has arrived is handed on without
// waiting for more.
func TestOwnTLSOnTheBareConnection(t *testing.T) {
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
		cli.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.CopyN(new(checker), cli, int64(size)); err != nil {
			t.Fatalf("%d bytes do not come back: %v", size, err)
		}
		await(t, "the client's write", sent)
	}
	if _, ok := srv.TLS(); !ok {
		t.Error("its TLS is not seen")
	}
	closeWrite(t, cli)
	if r := await(t, "the echo", echo); r.err != nil {
		t.Error(r.err)
	}
}
