// Package transport is how bytes travel: it opens listening sockets, dials, and
// prepares accepted connections for the protocols that speak over them.
//
// A [Transport] is TCP or TLS over IPv4, IPv6 and Unix sockets, an in-memory one for
// tests ([Mem]), a net.Listener that somebody else opened ([FromListener]), one around
// another, such as that of package transport/proxy, or one of your own. A protocol never sees the difference: it holds a [Conn], which is a
// net.Conn that also knows its id, its transport, its counters and its TLS state.
//
//	ln, err := transport.TCP{}.Listen(ctx, "127.0.0.1:0")
//	…
//	nc, err := ln.Accept()
//	conn := transport.NewConn(transport.TCP{}, nc, nil)
//	defer conn.Close()
//	io.Copy(conn, conn) // holds no buffer while the peer is silent
//
// Most programs never call any of this: package ranch does it for them.
//
// # Addresses
//
// Listen and Dial take "host:port" (IPv4, or IPv6 in brackets; an empty host is every
// address, port 0 a free one), "unix:/path" and, on Linux, "unix:@abstract". Listen also
// takes sockets that the process was started with: "fd:N" and "systemd:NAME".
package transport

import (
	"context"
	"net"
)

// Transport opens listening sockets and prepares the connections accepted on them.
//
// A Transport is used by several goroutines at once and by several listeners, so
// its methods must not change it.
type Transport interface {
	// Name says which transport this is in logs and metrics: "tcp", "tls", "mem".
	Name() string
	// Secure reports whether the payload is encrypted on the wire.
	Secure() bool
	// Listen opens one listening socket. The forms of addr are those of [ParseAddr],
	// unless the transport has an address family of its own.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects to a listener of the same transport.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Handshake prepares an accepted connection on the server's side, within the time
	// that ctx allows. It runs in the connection's own goroutine, never in an acceptor.
	// A transport that has nothing to agree upon returns nc.
	//
	// nc is the accepted connection behind the send timeout of its [Conn]; its method
	// NetConn returns the one that Accept returned.
	Handshake(ctx context.Context, nc net.Conn) (net.Conn, error)
}

// Plainer is an add-on to [Transport] for those whose Handshake waits for nobody:
// whoever calls it then needs no timer and no second goroutine for it.
type Plainer interface {
	Plain() bool
}

// Plain reports whether the Handshake of t returns at once.
func Plain(t Transport) bool {
	p, ok := t.(Plainer)
	return ok && p.Plain()
}

// Fronted is an add-on to [Transport] for those whose connections may come by way of a
// proxy that says who the client is: then the peer of the socket is not the one to limit.
type Fronted interface {
	// BehindProxy reports whether peer, the address of the socket's other end, is that of
	// such a proxy.
	BehindProxy(peer net.Addr) bool
}

// BehindProxy reports whether peer is a proxy that t expects to say who the client is.
func BehindProxy(t Transport, peer net.Addr) bool {
	f, ok := t.(Fronted)
	return ok && f.BehindProxy(peer)
}

// Validator is an add-on to [Transport] for those whose settings can be wrong. The
// error names every faulty field, its value and what is allowed, joined by errors.Join.
type Validator interface {
	Validate() error
}

// Unwrapper is an add-on to [Transport] for those that add something to another one and
// leave the rest to it: its send timeout holds, and its forms of addresses.
type Unwrapper interface {
	Unwrap() Transport
}

// Innermost returns the transport that t wraps, or the one that wraps in turn, and so
// on; t itself if it is no [Unwrapper]. It is nil if there is none at the end.
func Innermost(t Transport) Transport {
	for {
		u, ok := t.(Unwrapper)
		if !ok {
			return t
		}
		t = u.Unwrap()
	}
}

// Layered is an add-on to [Transport] for those whose Dial has two steps, so that
// another can say something to the server between them: Connect opens the connection,
// and Client prepares it on the client's side. Client owns nc until it has returned it,
// and closes it on error; addr is what Connect was called with. Both end when ctx does.
type Layered interface {
	Connect(ctx context.Context, addr string) (net.Conn, error)
	Client(ctx context.Context, nc net.Conn, addr string) (net.Conn, error)
}

// sender is an add-on to Transport for those that limit the time of a write.
type sender interface {
	sendLimit() sendLimit
}

// sendLimitOf returns the limit of t, or of the first that it wraps which has one.
func sendLimitOf(t Transport) sendLimit {
	for {
		if s, ok := t.(sender); ok {
			return s.sendLimit()
		}
		u, ok := t.(Unwrapper)
		if !ok {
			return sendLimit{}
		}
		t = u.Unwrap()
	}
}

type reusePort struct{}

// WithReusePort returns a context that asks Listen for a socket that shares its port
// with others of this process (SO_REUSEPORT): the kernel spreads connections over them.
func WithReusePort(ctx context.Context) context.Context {
	return context.WithValue(ctx, reusePort{}, true)
}

// ReusePort reports whether ctx asks for a socket that shares its port. A transport
// that cannot do that answers errors.ErrUnsupported.
func ReusePort(ctx context.Context) bool {
	on, _ := ctx.Value(reusePort{}).(bool)
	return on
}
