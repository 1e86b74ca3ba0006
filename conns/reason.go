package conns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"goranch/protocol"
	"goranch/transport"
)

// Reason is why a connection ended. Every accepted connection ends with exactly one.
//
// A Reason is also an error: when the server ends a connection, its context is cancelled with the
// Reason as the cause, and the errors of its reads wrap it. When the listener stops, the cause is
// protocol.ErrShutdown instead, and after the end protocol.ErrEnded.
type Reason uint8

const (
	Finished             Reason = iota // the protocol returned nil
	PeerClosed                         // end of stream, reset or broken pipe
	Failed                             // the protocol returned another error
	Panicked                           // the protocol, or the handshake, panicked
	TimedOut                           // the protocol returned the error of a deadline
	SendTimeout                        // the peer did not take a write in time: transport.ErrSendTimeout
	QueueFull                          // the peer reads too slowly: protocol.ErrQueueFull
	BadInput                           // the protocol refused the peer's input: protocol.ErrBadInput
	UpstreamFailed                     // another server, on which the protocol depends, failed: protocol.ErrUpstream
	HandshakeFailed                    // the handshake failed
	HandshakeTimeout                   // the handshake was not completed in time
	Shutdown                           // the listener stopped, and the protocol returned when asked to
	Aborted                            // the listener stopped, and the connection was closed at the time limit
	Killed                             // closed by Kill
	IdleTimeout                        // no traffic for too long
	ReadTimeout                        // nothing received for too long
	WriteTimeout                       // nothing sent for too long
	LoginTimeout                       // its login phase took too long
	ReceivedTooSlowly                  // its peer sends a message more slowly than MinReceiveRate
	Expired                            // reached its lifetime
	Evicted                            // the cap was lowered
	Banned                             // a rule of Networks denies its source address
	EndRequested                       // asked to stop by End
	Refused                            // accepted while the listener was stopping
	RefusedAtCap                       // accepted, but no slot was released in time
	RefusedAddress                     // its source address has too many connections
	RefusedRate                        // its source address connects too often
	RefusedByHook                      // Settings.Admit returned an error
	RefusedUnestablished               // too many connections are in the login phase
	numReasons
)

var reasonNames = [numReasons]string{
	"finished", "peer closed", "failed", "panicked", "timed out", "send timeout", "queue full", "bad input", "upstream failed",
	"handshake failed", "handshake timeout", "shutdown", "aborted", "killed",
	"idle timeout", "read timeout", "write timeout", "login timeout", "received too slowly", "expired", "evicted", "banned", "ended by an operator",
	"refused", "refused at the cap", "refused: too many connections from its address", "refused: address connects too often",
	"refused by the admission hook",
	"refused: too many connections in the login phase",
}

// Refusal reports whether r is a reason for which only refused connections end. A connection that
// ends as [Banned] was refused only if it was not served.
func (r Reason) Refusal() bool { return r >= Refused }

// Error returns the reason in words, as in logs and metrics.
func (r Reason) Error() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// reasonOf returns the reason for the end of a connection whose protocol has returned err.
func reasonOf(err error) Reason {
	switch err {
	case nil:
		return Finished
	case io.EOF:
		return PeerClosed
	}
	if _, ok := errors.AsType[*protocol.PanicError](err); ok {
		return Panicked
	}
	r, ended := errors.AsType[Reason](err)
	switch {
	case errors.Is(err, protocol.ErrUpstream): // the error of a connection to the upstream says nothing about this one
		return UpstreamFailed
	case errors.Is(err, protocol.ErrShutdown):
		return Shutdown
	case ended && r < numReasons && r != Aborted && r != Killed:
		return r
	case errors.Is(err, transport.ErrSendTimeout):
		return SendTimeout
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, protocol.ErrQueueFull):
		return QueueFull
	case errors.Is(err, protocol.ErrBadInput):
		return BadInput
	case closedByPeer(err):
		return PeerClosed
	case errors.Is(err, net.ErrClosed): // of a read after the protocol has closed the connection
		return Finished
	}
	return Failed
}

func closedByPeer(err error) bool {
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT, syscall.ECONNABORTED} {
		if errors.Is(err, closed) {
			return true
		}
	}
	return false
}

// reason returns the reason for the end of c. The reason for which the server ended it takes
// precedence over the error that its protocol returned because of that.
func (c *connection) reason() Reason {
	r := reasonOf(c.err)
	switch closed := c.flags.closeReason(); {
	case r.Refusal() && c.flags.has(flagServing): // the error of another connection that the protocol uses
		return Failed
	case r == Panicked, r.Refusal():
		return r
	case closed != 0:
		return closed
	case r == Banned && c.flags.has(flagServing): // as above
		return Failed
	case !c.flags.has(flagServing):
		switch {
		case r == Shutdown || r >= IdleTimeout:
			return r
		case r == TimedOut || errors.Is(c.err, os.ErrDeadlineExceeded):
			return HandshakeTimeout
		}
		return HandshakeFailed
	case c.ctx.Err() != nil && (r == Finished || errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.Cause(&c.ctx))):
		if stop := c.flags.stopReason(); stop != 0 {
			return stop
		}
		return Shutdown
	}
	return r
}
