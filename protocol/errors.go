package protocol

import (
	"errors"
	"fmt"
)

var (
	// ErrShutdown is the cause with which the context of a connection is cancelled when the server
	// stops. Reads that fail for this reason wrap it. Other causes concern a single connection.
	ErrShutdown = errors.New("the listener is shutting down")
	// ErrEnded is returned by methods of [Peer], [Outbox] and [Group] when the connection has
	// ended.
	ErrEnded = errors.New("the connection has ended")
	// ErrBadInput is wrapped by the error of a protocol that ends because of what the peer sent. It
	// is counted as a fault of the peer and is not logged as a failure.
	ErrBadInput = errors.New("bad input")
	// ErrUpstream is wrapped by the error of a connection that ends because another server, on
	// which the protocol depends, has failed. It is counted as such, whatever the error also is,
	// and is not logged as a failure.
	ErrUpstream = errors.New("upstream failed")
	// ErrFrameTooLarge is wrapped by the error of a frame that is longer than its codec allows. It
	// is [ErrBadInput] too.
	ErrFrameTooLarge = fmt.Errorf("%w: frame too large", ErrBadInput)
	// ErrQueueFull ends a connection whose peer reads too slowly, under the policy [CloseSlow].
	ErrQueueFull = errors.New("the peer reads too slowly: outbound queue full")
	// ErrDropped is returned for a frame that was dropped under any other policy.
	ErrDropped = errors.New("outbound queue full: the frame was dropped")
	// ErrMailboxFull is returned by [Peer.Post] for a message that was dropped. It also ends the
	// connection if the policy is [CloseSlow].
	ErrMailboxFull = errors.New("mailbox full")
)

// errBadFrame is wrapped by the error of a frame that cannot be sent, whatever its size.
var errBadFrame = errors.New("bad frame")

// Errors for which the reader returns or pauses although no read has failed.
var (
	errStop    = errors.New("a callback has ended the connection")
	errUpgrade = errors.New("a callback has requested an upgrade")
	errPaused  = errors.New("reading is paused: too many bytes wait for the peer")
)

// PanicError is the error of a connection whose protocol, handshake or handler has panicked. A
// protocol reports the panic of another goroutine by a panic with a *PanicError.
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

// Unwrap returns the argument of panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
