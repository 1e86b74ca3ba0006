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
	// Listen opens one listening socket. The forms of addr are those of [ParseAddr].
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects to a listener of the same transport.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Handshake prepares an accepted connection on the server's side, within the time that ctx allows.
	// It runs in the connection's own goroutine, never in an acceptor. A transport
	// that has nothing to agree upon returns nc.
	//
	// nc is the accepted connection behind the send timeout of its [Conn];
	// its method NetConn returns the one that Accept returned.
	Handshake(ctx context.Context, nc net.Conn) (net.Conn, error)
}
