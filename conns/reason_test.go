package conns_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// reasonCase is a way in which a connection ends.
type reasonCase struct {
	name      string
	over      []network
	t         transport.Transport // nil: plain
	handshake time.Duration
	serve     protocol.Func
	peer      func(h *harness, client net.Conn) // what happens once it is started
	want      conns.Reason
	unserved  bool
	is        []error // what End.Err wraps
}

const soon = 20 * time.Millisecond

var (
	both    = []network{loopback, pipe}
	tcpOnly = []network{loopback}

	silent = withHandshake(func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	reading = withHandshake(func(_ context.Context, nc net.Conn) (net.Conn, error) {
		_, err := nc.Read(make([]byte, 1))
		return nc, err
	})
	secure = transport.TLS{Config: serverTLS()}
)

// withHandshake returns a transport with that handshake.
func withHandshake(f func(ctx context.Context, nc net.Conn) (net.Conn, error)) transport.Transport {
	return fake{shake: f}
}

// protocolEnds are ends that the protocol or the peer causes.
var protocolEnds = []reasonCase{
	{name: "returned nil", over: both, want: conns.Finished,
		serve: func(context.Context, *transport.Conn) error { return nil }},
	{name: "protocol closed it", over: tcpOnly, want: conns.Finished, is: []error{net.ErrClosed},
		serve: func(ctx context.Context, c *transport.Conn) error { c.Close(); return readAll(ctx, c) }},

	{name: "peer closed", over: both, peer: closeClient, want: conns.PeerClosed, is: []error{io.EOF}},
	{name: "peer closed in the middle of a message", over: both, want: conns.PeerClosed, is: []error{io.ErrUnexpectedEOF},
		peer: func(_ *harness, client net.Conn) { client.Write([]byte("ab")); client.Close() },
		serve: func(_ context.Context, c *transport.Conn) error {
			_, err := io.ReadFull(c, make([]byte, 4))
			return fmt.Errorf("read the header: %w", err)
		}},
	{name: "peer reset", over: tcpOnly, peer: resetClient, want: conns.PeerClosed, is: []error{syscall.ECONNRESET}},
	{name: "write after the peer closed", over: tcpOnly, peer: closeClient, want: conns.PeerClosed,
		serve: func(_ context.Context, c *transport.Conn) error {
			for {
				if _, err := c.Write([]byte("data")); err != nil {
					return err
				}
			}
		}},

	{name: "returned an error", over: both, want: conns.Failed, is: []error{errBoom},
		serve: func(context.Context, *transport.Conn) error { return fmt.Errorf("serve: %w", errBoom) }},
	{name: "cancelled its own context", over: both, want: conns.Failed, is: []error{context.Canceled},
		serve: func(ctx context.Context, _ *transport.Conn) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx.Err()
		}},

	{name: "panicked", over: both, want: conns.Panicked,
		serve: func(context.Context, *transport.Conn) error { panic("a test") }},
	{name: "panicked with an error", over: both, want: conns.Panicked, is: []error{errBoom},
		serve: func(context.Context, *transport.Conn) error { panic(errBoom) }},
	{name: "panicked with end of file", over: both, want: conns.Panicked, is: []error{io.EOF},
		serve: func(context.Context, *transport.Conn) error { panic(io.EOF) }},
	{name: "panicked with nil", over: both, want: conns.Panicked,
		serve: func(context.Context, *transport.Conn) error { panic(nil) }},
	{name: "Goexit", over: both, want: conns.Panicked,
		serve: func(context.Context, *transport.Conn) error { runtime.Goexit(); return nil }},
	{name: "panicked when asked to stop", over: both, peer: stopServer, want: conns.Panicked,
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); panic("a test") }},
	{name: "panicked when killed", over: both, peer: killAll, want: conns.Panicked,
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); panic("a test") }},
	{name: "panic in handshake", over: both, want: conns.Panicked, unserved: true, is: []error{errBoom},
		t: withHandshake(func(context.Context, net.Conn) (net.Conn, error) { panic(errBoom) })},
	{name: "Goexit in handshake", over: both, want: conns.Panicked, unserved: true,
		t: withHandshake(func(context.Context, net.Conn) (net.Conn, error) { runtime.Goexit(); return nil, nil })},
	{name: "panic in handshake of a plain transport", over: both, want: conns.Panicked, unserved: true, is: []error{errBoom},
		t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { panic(errBoom) }}},
	{name: "Goexit in handshake of a plain transport", over: both, want: conns.Panicked, unserved: true,
		t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { runtime.Goexit(); return nil, nil }}},

	{name: "read deadline", over: both, want: conns.TimedOut, is: []error{os.ErrDeadlineExceeded},
		serve: func(ctx context.Context, c *transport.Conn) error {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			return readAll(ctx, c)
		}},
	{name: "write deadline", over: both, want: conns.TimedOut, is: []error{os.ErrDeadlineExceeded},
		serve: func(_ context.Context, c *transport.Conn) error {
			c.SetWriteDeadline(time.Now().Add(-time.Second))
			_, err := c.Write([]byte("late"))
			return err
		}},
	{name: "its own context deadline", over: both, want: conns.TimedOut, is: []error{context.DeadlineExceeded},
		serve: func(ctx context.Context, c *transport.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			<-ctx.Done()
			return ctx.Err()
		}},

	{name: "send timeout", over: both, want: conns.SendTimeout, is: []error{transport.ErrSendTimeout},
		t: transport.TCP{SendTimeout: soon, WriteBuffer: 4096},
		serve: func(_ context.Context, c *transport.Conn) error {
			for b := make([]byte, 1<<20); ; {
				if _, err := c.Write(b); err != nil {
					return err
				}
			}
		}},
}

// handshakeEnds are ends before the protocol is called.
var handshakeEnds = []reasonCase{
	{name: "handshake refused", over: both, want: conns.HandshakeFailed, unserved: true, is: []error{errBoom},
		t: withHandshake(func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom })},
	{name: "handshake returned an unknown reason", over: both, want: conns.HandshakeFailed, unserved: true,
		t: withHandshake(func(context.Context, net.Conn) (net.Conn, error) { return nil, conns.Reason(200) })},
	{name: "handshake of a plain transport refused", over: both, want: conns.HandshakeFailed, unserved: true, is: []error{errBoom},
		t: fake{plain: true, shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, errBoom }}},
	{name: "peer closed in handshake", over: both, t: reading, peer: closeClient, want: conns.HandshakeFailed, unserved: true, is: []error{io.EOF}},
	{name: "garbage for TLS", over: both, t: secure, want: conns.HandshakeFailed, unserved: true,
		peer: func(_ *harness, client net.Conn) {
			go io.Copy(io.Discard, client) // the alert
			client.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		}},
	{name: "peer closed in TLS handshake", over: both, t: secure, peer: closeClient, want: conns.HandshakeFailed, unserved: true, is: []error{io.EOF}},

	{name: "handshake timeout", over: both, t: silent, handshake: soon, want: conns.HandshakeTimeout, unserved: true,
		is: []error{context.DeadlineExceeded}},
	{name: "silence for TLS", over: both, t: secure, handshake: soon, want: conns.HandshakeTimeout, unserved: true,
		is: []error{context.DeadlineExceeded}},
	{name: "deadline set by the handshake", over: both, handshake: time.Hour, want: conns.HandshakeTimeout, unserved: true,
		t: withHandshake(func(_ context.Context, nc net.Conn) (net.Conn, error) {
			nc.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := nc.Read(make([]byte, 1))
			return nc, err
		}), is: []error{os.ErrDeadlineExceeded}},
}

// serverEnds are ends that the server causes.
var serverEnds = []reasonCase{
	{name: "asked while reading", over: both, peer: stopServer, want: conns.Shutdown, is: []error{protocol.ErrShutdown}},
	{name: "asked while it waits for its context", over: both, serve: untilCancelled, peer: stopServer, want: conns.Shutdown, is: []error{context.Canceled}},
	{name: "asked, returns the cause", over: both, peer: stopServer, want: conns.Shutdown, is: []error{protocol.ErrShutdown},
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return context.Cause(ctx) }},
	{name: "asked, returns nil", over: both, peer: stopServer, want: conns.Shutdown,
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return nil }},
	{name: "asked, fails", over: both, peer: stopServer, want: conns.Failed, is: []error{errBoom},
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return errBoom }},

	{name: "closed at the limit", over: both, serve: untilWriteFails, want: conns.Aborted,
		peer: func(h *harness, client net.Conn) {
			go io.Copy(io.Discard, client)
			abortServer(h, client)
		}},
	{name: "closed in handshake", over: both, want: conns.Aborted, unserved: true, peer: abortServer,
		t: withHandshake(func(_ context.Context, nc net.Conn) (net.Conn, error) {
			for {
				if _, err := nc.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return nil, err
				}
			}
		})},

	{name: "killed while reading", over: both, peer: killAll, want: conns.Killed},
	{name: "killed while it waits for its context", over: both, peer: killAll, want: conns.Killed, is: []error{conns.Killed},
		serve: func(ctx context.Context, _ *transport.Conn) error { <-ctx.Done(); return context.Cause(ctx) }},
	{name: "killed in handshake", over: both, t: silent, handshake: time.Hour, peer: killAll, want: conns.Killed, unserved: true, is: []error{conns.Killed}},
	{name: "killed in TLS handshake", over: both, t: secure, handshake: time.Hour, peer: killAll, want: conns.Killed, unserved: true, is: []error{conns.Killed}},
	{name: "killed while writing", over: both, peer: killAll, want: conns.Killed,
		serve: func(_ context.Context, c *transport.Conn) error {
			for b := make([]byte, 1<<20); ; {
				if _, err := c.Write(b); err != nil {
					return err
				}
			}
		}},
}

// Each reason by its real cause. For all of them each hook is called once, and the slot is released
// once, before Ended is called.
func TestReasons(t *testing.T) {
	for _, tc := range slices.Concat(protocolEnds, handshakeEnds, serverEnds) {
		for _, n := range tc.over {
			t.Run(tc.name+"/"+string(n), func(t *testing.T) { testReason(t, tc, n) })
		}
	}
}

func testReason(t *testing.T, tc reasonCase, n network) {
	if tc.t == nil {
		tc.t = plain
	}
	if tc.serve == nil {
		tc.serve = readAll
	}
	if tc.peer == nil {
		tc.peer = noAction
	}
	h := newHarness(t, 1, tc.handshake)
	server, client := n.pair(t)
	h.start(tc.t, server, tc.serve)
	tc.peer(h, client)
	end := h.end()
	if s := h.gate.State(); s.Used != 0 {
		t.Errorf("when Ended was called: got the gate %+v, want no used slot", s)
	}
	if end.Reason != tc.want || end.Served == tc.unserved {
		t.Errorf("got %q, served %t, error %v, want %q, served %t", end.Reason, end.Served, end.Err, tc.want, !tc.unserved)
	}
	for _, err := range tc.is {
		if !errors.Is(end.Err, err) {
			t.Errorf("got the error %v, want one that wraps %v", end.Err, err)
		}
	}
	h.close()
	if h.released != 1 {
		t.Errorf("got %d releases of the slot, want 1", h.released)
	}
	var want conns.Counters
	want.Accepted, want.Ended[tc.want] = 1, 1
	if tc.unserved {
		want.HandshakeFailed = 1
	} else {
		want.Served = 1
	}
	wantCounters(t, h.sup, want)
	if _, err := server.Write([]byte("x")); err == nil {
		t.Error("write after the end: got no error, want one: the socket is open")
	}
}

// serverTLS returns the configuration of a server with a self-signed certificate.
func serverTLS() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestReasonOf(t *testing.T) {
	wrap := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	for _, tc := range []struct {
		err  error
		want conns.Reason
	}{
		{nil, conns.Finished},
		{io.EOF, conns.PeerClosed},
		{wrap(io.ErrUnexpectedEOF), conns.PeerClosed},
		{wrap(syscall.ECONNRESET), conns.PeerClosed},
		{wrap(syscall.EPIPE), conns.PeerClosed},
		{wrap(syscall.ECONNABORTED), conns.PeerClosed},
		{wrap(syscall.ETIMEDOUT), conns.PeerClosed}, // of keepalive, not of a deadline
		{wrap(os.ErrDeadlineExceeded), conns.TimedOut},
		{context.DeadlineExceeded, conns.TimedOut},
		{context.Canceled, conns.Failed},
		{wrap(transport.ErrSendTimeout), conns.SendTimeout},
		{wrap(protocol.ErrBadInput), conns.BadInput},
		{wrap(protocol.ErrUpstream), conns.UpstreamFailed},
		{errors.Join(syscall.ECONNRESET, protocol.ErrUpstream), conns.UpstreamFailed}, // of the upstream, not of the client
		{wrap(protocol.ErrShutdown), conns.Shutdown},
		{wrap(net.ErrClosed), conns.Finished},
		{errBoom, conns.Failed},
		{fmt.Errorf("serve: %w", &protocol.PanicError{Value: io.EOF}), conns.Panicked},
		{errors.Join(io.EOF, protocol.ErrShutdown), conns.Shutdown},
		{wrap(conns.IdleTimeout), conns.IdleTimeout},
		{conns.Reason(200), conns.Failed}, // not one of the counters
	} {
		if got := conns.ReasonOf(tc.err); got != tc.want {
			t.Errorf("reasonOf(%v): got %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range len(conns.Counters{}.Ended) {
		s := conns.Reason(i).Error()
		if s == "" || seen[s] {
			t.Errorf("reason %d: got %q, want a name of its own", i, s)
		}
		seen[s] = true
	}
	if got := conns.Reason(200).Error(); got != "Reason(200)" {
		t.Errorf("unknown reason: got %q, want Reason(200)", got)
	}
}
