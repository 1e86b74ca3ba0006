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
	"fmt"

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

// Unwrapper is an add-on to [Protocol] for those whose Serve does nothing but call the Serve of
// another one, such as a struct that adds methods to a protocol made by [Handle]. The server
// calls the inner protocol itself and, if it was made by Handle, can park idle connections.
type Unwrapper interface {
	Protocol
	Unwrap() Protocol
}

// PanicError is how a connection ends whose protocol, handshake or handler has panicked. A protocol
// whose other goroutine has panicked passes that on by panicking with a *PanicError.
type PanicError struct {
	Value any    // the argument of panic; nil if the goroutine was ended by runtime.Goexit
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "goroutine ended by runtime.Goexit"
	}
	return fmt.Sprintf("panic: %v", e.Value)
}

// Unwrap returns the argument of panic, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
