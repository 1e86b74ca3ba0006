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
//	conn := transport.NewConn(transport.TCP{}, nc)
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

// PortSharer is an add-on to [Transport] for those that can open several listening sockets on one
// port, over which the kernel spreads connections (SO_REUSEPORT).
type PortSharer interface {
	// ListenShared is Listen for a socket that shares its port with others of this process. The
	// error is errors.ErrUnsupported where the system or the address does not allow that.
	ListenShared(ctx context.Context, addr string) (net.Listener, error)
}
