// Package protocol is what is spoken over a connection. A [Protocol] has one method;
// its loop reads requests and writes answers as if it were alone in the world, for each
// connection has a goroutine of its own:
//
//	hello := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
//		_, err := fmt.Fprintf(conn, "hello, %v\n", conn.RemoteAddr())
//		return err
//	})
package protocol

import (
	"context"
	"errors"

	"goranch/transport"
)

// Protocol serves connections.
//
// Serve is called once per connection, in a goroutine of its own, after the handshake.
// It owns conn until it returns; then conn is closed. A panic in Serve ends its own
// connection only.
//
// When the server stops, ctx is cancelled and reads fail at once, while writes still
// work until the shutdown limit: a loop that returns when a read fails ends in order.
// Goroutines that Serve starts must end before it returns.
//
// The error says how it went. nil means as it should; io.EOF, and the errors of a reset
// connection, that the peer has gone; anything else is logged as a failure. Returning
// the error of a read or write as it is gives the right reason.
type Protocol interface {
	Serve(ctx context.Context, conn *transport.Conn) error
}

// Func is a function that is a [Protocol].
type Func func(ctx context.Context, conn *transport.Conn) error

// Serve calls f.
func (f Func) Serve(ctx context.Context, conn *transport.Conn) error { return f(ctx, conn) }

// Refuser is an add-on to [Protocol] that has a last word for a client that is turned away
// because the listener is at its cap, where the listener refuses at all. ctx ends in a
// second or so, and then the connection is closed. cause says why; Refuse must not read.
type Refuser interface {
	Refuse(ctx context.Context, conn *transport.Conn, cause error)
}

// ErrShutdown is the cause with which ctx is cancelled when the server stops, and what reads
// that fail then wrap. Other causes concern one connection: it has reached a limit, or is
// closed already.
var ErrShutdown = errors.New("the listener is shutting down")

// ErrBadInput is wrapped by the error of a protocol that does not go on because of what the
// peer has sent. It is the peer's fault, counted as such, and no reason to warn.
var ErrBadInput = errors.New("bad input")

// Drainer is an add-on to [Protocol] for those that end their connections in order by
// themselves when ctx is cancelled: by what they have to say to the peer, or after the
// request in progress, of which they may have to read the rest. Then the server only
// cancels ctx, and reads go on. What is left at the shutdown limit is closed all the same.
//
// A Drainer that passes connections on to another protocol has to tell it what the
// server would have, by [transport.Conn.StopReading], unless that is a Drainer too.
type Drainer interface {
	Protocol
	// DrainsItself does nothing; that it is there says it all.
	DrainsItself()
}

// Sleeper is an add-on to [Protocol] for those whose connections need no goroutine while
// nothing comes. The protocols of [Handle] are Sleepers. One that is a [Drainer] too is
// served as if it were none.
type Sleeper interface {
	Protocol
	// Begin is called instead of Serve, and must not wait.
	Begin(ctx context.Context, conn *transport.Conn) Serving
}

// Serving is a connection that a [Sleeper] serves.
type Serving interface {
	// Run does what Serve does. Besides it may return [transport.ErrResting] as it was
	// returned by a [transport.Lender], which has happened because [transport.Conn.Rest] was called. Then
	// that is not the end: Run is called again, by another goroutine, when there is something to read
	// or when reads are to fail.
	Run() error
}
