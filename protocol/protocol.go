// Package protocol defines what a server does with a connection. A [Protocol] has one method, which
// serves one connection in a goroutine of its own:
//
//	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
//		_, err := fmt.Fprintf(conn, "hello, %v\n", conn.RemoteAddr())
//		return err
//	})
//
// [Handle] makes a Protocol from callbacks. It divides the stream into frames by a [Codec], sends
// through an [Outbox], and broadcasts to a [Group].
package protocol

import (
	"context"

	"goranch/transport"
)

// Protocol serves connections.
//
// Serve is called once per connection, in a goroutine of its own, after the handshake. It owns conn
// until it returns; then conn is closed. Goroutines that Serve starts must end before it returns. A
// panic ends its own connection only. When the server stops, ctx is cancelled with the cause
// [ErrShutdown] and reads fail at once, while writes work until the shutdown timeout.
type Protocol interface {
	// Serve returns nil after a normal end, and the error of a read or write unchanged: io.EOF and
	// the errors of a reset connection mean that the peer closed it. Any other error is logged as a
	// failure.
	Serve(ctx context.Context, conn *transport.Conn) error
}

// Func is an adapter that makes a [Protocol] from a function.
type Func func(ctx context.Context, conn *transport.Conn) error

// Serve calls f.
func (f Func) Serve(ctx context.Context, conn *transport.Conn) error { return f(ctx, conn) }

// Refuser is an optional interface of a [Protocol]. If the listener refuses a connection at its
// cap, or because of its source address, it calls Refuse to send a rejection message. cause is the
// reason, a conns.Reason. ctx ends after about a second; then the connection is closed. A protocol
// in which the client speaks first may wait until then for its first bytes.
//
// At the cap the handshake of the transport precedes Refuse. For clients that are refused because
// of their address, the server does not spend a TLS handshake: over TLS, Refuse is not called for
// them.
//
// If a Refuser also has a method Refuses() bool that returns false, Refuse is never called.
type Refuser interface {
	Refuse(ctx context.Context, conn *transport.Conn, cause error)
}

// Drainer is an optional interface of a [Protocol] that ends its connections itself when ctx is
// cancelled, for example because it has to read the rest of the current request. The server then
// cancels ctx and does not interrupt reads. Connections that are open at the shutdown timeout are
// closed.
//
// A Drainer that passes a connection on to a protocol that is not a Drainer has to call
// [transport.Conn.StopReading] itself when ctx is cancelled.
type Drainer interface {
	Protocol
	// DrainsItself is never called: it marks the type.
	DrainsItself()
}
