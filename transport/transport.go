// Package transport opens listening sockets, dials, and prepares accepted connections for the
// protocols that use them.
//
// A [Transport] is [TCP] or [TLS] over IPv4, IPv6 and Unix sockets, an in-memory transport for
// tests ([Mem]), an existing net.Listener ([FromListener]), a wrapper such as that of package
// transport/proxy, or any other implementation. Protocols are independent of the transport: they
// use a [Conn], which is a net.Conn with an id, counters and the state of TLS.
//
//	ln, err := transport.TCP{}.Listen(ctx, "127.0.0.1:0")
//	…
//	nc, err := ln.Accept()
//	conn := transport.NewConn(transport.TCP{}, nc)
//	defer conn.Close()
//	io.Copy(conn, conn) // holds no buffer while no data arrives
//
// Package ranch does this for servers.
//
// # Addresses
//
// Listen and Dial take "host:port" (an IPv6 host in brackets; an empty host is all addresses, port
// 0 a free port), "unix:/path" and, on Linux, "unix:@abstract". Listen also takes sockets that the
// process has inherited: "fd:N" and "systemd:NAME".
package transport

import (
	"context"
	"net"
	"time"
)

// Values of options in all packages of this module. The zero value of an option stands for its
// default, which the documentation of the field states.
const (
	NoLimit                 = -1 // a number or size without limit
	NoTimeout time.Duration = -1 // a time without limit
)

// Transport opens listening sockets and prepares the connections accepted on them. Its methods are
// called from several goroutines and for several listeners at once, and must not change it.
//
// A Transport may also have a method Validate() error, which reports all its faulty settings: the
// field, its value and what is allowed. Package ranch calls it before it starts a listener.
type Transport interface {
	// Name returns the name of the transport in logs and metrics: "tcp", "tls", "mem".
	Name() string
	// Secure reports whether the payload is encrypted on the wire.
	Secure() bool
	// Listen opens one listening socket. addr has one of the forms of [ParseAddr], unless the
	// transport has addresses of its own.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects to a listener of the same transport.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Handshake prepares an accepted connection on the server's side until ctx ends. It is called
	// in the goroutine of the connection. A transport without a handshake returns nc.
	//
	// nc is the accepted connection, to which the send timeout applies. For transports that inspect
	// the first bytes it also has these methods:
	//
	//	NetConn() net.Conn            // the connection that Accept returned
	//	Peek(n int) ([]byte, error)   // as Conn.Peek
	//	SetProxy(header *ProxyHeader) // makes the addresses of header those of the connection; at most once
	Handshake(ctx context.Context, nc net.Conn) (net.Conn, error)
}

// Unwrapper is an optional interface of a [Transport] that wraps another one. The send timeout and
// the forms of addresses are then those of the wrapped transport.
type Unwrapper interface {
	Unwrap() Transport
}

// PortSharer is an optional interface of a [Transport] that can open several listening sockets on
// one port, over which the kernel distributes connections (SO_REUSEPORT).
type PortSharer interface {
	// ListenShared is Listen for a socket that shares its port with other sockets of this process.
	// The error wraps errors.ErrUnsupported if the system or the address does not allow that.
	ListenShared(ctx context.Context, addr string) (net.Listener, error)
}

// sendLimiter is implemented by the transports of this package that have a send timeout.
type sendLimiter interface {
	sendLimit() sendLimit
}

// sendLimitOf returns the limit of t, or of the first transport wrapped by it that has one.
func sendLimitOf(t Transport) sendLimit {
	for {
		if s, ok := t.(sendLimiter); ok {
			return s.sendLimit()
		}
		u, ok := t.(Unwrapper)
		if !ok {
			return sendLimit{}
		}
		t = u.Unwrap()
	}
}
