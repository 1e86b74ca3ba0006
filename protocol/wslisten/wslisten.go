// Package wslisten provides a transport whose connections are WebSockets (RFC 6455), so that any
// protocol can serve browsers and other clients that connect by HTTP.
//
//	ws, err := wslisten.New(wslisten.Options{})
//	…
//	mux.Handle("/chat", ws)                                                  // of any HTTP server
//	ranch.StartListener("chat", ws, ranch.Options{Addr: "/chat"}, protocol) // serves what arrives there
//
// A request for an upgrade waits until an acceptor of the listener takes it. The cap, the limits
// per address, bans, the handshake timeout, counters, end reasons and the drain of the listener
// thereby apply to WebSockets as to any connection, and a refused client gets an answer of HTTP:
// 503. The address of a connection is that of the HTTP request: behind a proxy the
// one that the HTTP listener has determined. Addr is a name only, for logs.
//
// The HTTP server may itself run on a ranch listener (package netlisten); then a WebSocket has a
// slot in both. Drain the listener of the WebSockets first, or both together.
//
// # A stream of bytes
//
// A connection is a stream, as protocols expect: each write is one message, and reads return the
// payload of messages in order, without their boundaries. So a frame of the protocol may have
// several messages, and a message several frames. A client should send each frame in one message,
// and must not rely on the boundaries of those that it receives.
//
// Messages of both kinds, binary and text, are accepted. See Options.Text for what is sent.
//
// # Differences from a socket
//
//   - There is no half-close: CloseWrite returns errors.ErrUnsupported. After the client has closed
//     the WebSocket, reads return io.EOF and writes still work until the connection is closed. If
//     it is disconnected without a close frame, reads return io.ErrUnexpectedEOF.
//   - A write that is interrupted within a message ends sending, as it does in crypto/tls.
//   - Idle connections are not parked: each has a goroutine.
//   - Pings and the close of the client are noticed by reads. A protocol that does not read does
//     not answer them.
//
// # Close codes
//
// When the protocol has ended, the client receives one of these codes: 1000 (it returned nil, or
// the client has closed first), 1001 (the listener stops, or the connection exceeds a limit, with
// the reason), 1008 or 1009 (its error wraps protocol.ErrBadInput or protocol.ErrFrameTooLarge),
// 1011 (any other error, without its text). Frames that violate RFC 6455 are answered with 1002,
// invalid UTF-8 in text with 1007, and long messages with 1009; the errors of reads then wrap
// protocol.ErrBadInput.
package wslisten

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/coder/websocket"

	"goranch/internal/weborigin"
	"goranch/transport"
)

// Transport is both an [http.Handler], which accepts WebSockets, and the [transport.Transport] of
// the listener that serves them. One listener at a time may use it; while there is none, requests
// are answered with status 503. All methods may be called from any goroutine.
type Transport struct {
	opts   Options
	policy weborigin.Policy

	mu sync.Mutex
	ln *listener // nil: none
}

var (
	_ http.Handler        = (*Transport)(nil)
	_ transport.Transport = (*Transport)(nil)
)

// New returns a Transport. The error joins all faults of the options.
func New(opts Options) (*Transport, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	return &Transport{opts: opts, policy: weborigin.Policy{Origins: opts.Origins, Hosts: opts.Hosts}}, nil
}

// Name returns "websocket".
func (t *Transport) Name() string { return "websocket" }

// Secure returns false: whether a WebSocket is encrypted depends on the HTTP server. The method TLS
// of its connection returns the state of TLS.
func (t *Transport) Secure() bool { return false }

// Listen makes the handler accept WebSockets. The address is a name of any form. The error wraps
// syscall.EADDRINUSE while another listener uses the Transport.
func (t *Transport) Listen(_ context.Context, addr string) (net.Listener, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ln != nil {
		return nil, fmt.Errorf("listen %s: the WebSocket transport has a listener already: %w", addr, syscall.EADDRINUSE)
	}
	t.ln = newListener(t, addr)
	return t.ln, nil
}

// listener returns the current listener, nil if there is none.
func (t *Transport) listener() *listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ln
}

// Dial connects to a WebSocket server at addr, a URL such as "ws://host/path". The connection sends
// and receives binary messages, or text with Options.Text. A deadline that expires during a read or
// write closes it.
func (t *Transport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, _, err := websocket.Dial(ctx, addr, &websocket.DialOptions{Subprotocols: t.opts.Subprotocols})
	if err != nil {
		return nil, err
	}
	kind := websocket.MessageBinary
	if t.opts.Text {
		kind = websocket.MessageText
	}
	return websocket.NetConn(context.WithoutCancel(ctx), conn, kind), nil
}

// Handshake sends the answer to the upgrade.
func (t *Transport) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	c := connOf(nc)
	if c == nil {
		return nil, fmt.Errorf("the connection is no WebSocket of wslisten, but a %T", nc)
	}
	if err := c.upgrade(ctx); err != nil {
		return nil, err
	}
	top := &served{nc, c}
	if c.tls != nil {
		return servedTLS{top}, nil
	}
	return top, nil
}

// connOf returns the WebSocket below nc, nil if there is none.
func connOf(nc net.Conn) *conn {
	for nc != nil {
		if c, ok := nc.(*conn); ok {
			return c
		}
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = w.NetConn()
	}
	return nil
}

// served is what a transport.Conn uses: a conn with the deadlines of the transport.Conn. Its Close
// performs the closing handshake, while that of conn closes the connection at once.
type served struct {
	net.Conn
	ws *conn
}

func (s *served) Close() error { return s.ws.closeGracefully() }

// WaitReadable implements engine.ReadableWaiter.
func (s *served) WaitReadable() { s.ws.WaitReadable() }

// servedTLS is a separate type because a transport.Conn treats a connection with the method
// ConnectionState as one with TLS.
type servedTLS struct{ *served }

func (s servedTLS) ConnectionState() tls.ConnectionState { return *s.ws.tls }

// Subprotocol returns the subprotocol that was negotiated for a connection of this package, "" if
// none.
func Subprotocol(c *transport.Conn) string {
	if ws := connOf(c.NetConn()); ws != nil {
		return ws.subprotocol
	}
	return ""
}

// Value returns what Options.Authorize has returned for the request of a connection, nil if there
// is nothing.
func Value(c *transport.Conn) any {
	if ws := connOf(c.NetConn()); ws != nil {
		return ws.value
	}
	return nil
}
