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

// Reason says why a connection ended. Every connection that was accepted ends with
// exactly one.
type Reason uint8

const (
	Finished         Reason = iota // the protocol returned nil
	PeerClosed                     // the peer has gone: end of stream, reset, broken pipe
	Failed                         // the protocol returned another error
	Panicked                       // the protocol, or the handshake, panicked
	TimedOut                       // the protocol returned the error of a deadline
	SendTimeout                    // the peer did not take a write in time
	QueueFull                      // the peer took less than was sent to it: protocol.ErrQueueFull
	BadInput                       // the protocol refused what the peer has sent: protocol.ErrBadInput
	HandshakeFailed                // the peer did not complete the handshake
	HandshakeTimeout               // nor within the time for it
	Shutdown                       // it was told to end, and did
	Aborted                        // it was told to end, and had to be closed
	Killed                         // somebody closed this one
	IdleTimeout                    // nothing was carried for too long
	ReadTimeout                    // nothing was received for too long
	WriteTimeout                   // nothing was sent for too long
	Expired                        // it reached its lifetime
	Evicted                        // it had to make room when the cap was lowered
	Refused                        // accepted while the listener was stopping
	RefusedAtCap                   // accepted, but no slot came free in time
	RefusedAddress                 // its address has too many connections
	RefusedRate                    // its address connects too often
	numReasons
)

var reasonNames = [numReasons]string{
	"finished", "peer closed", "failed", "panicked", "timed out", "send timeout", "queue full", "bad input",
	"handshake failed", "handshake timeout", "shutdown", "aborted", "killed",
	"idle timeout", "read timeout", "write timeout", "expired", "evicted",
	"refused", "refused at the cap", "refused: too many of its address", "refused: address too often",
}

// refused reports whether connections that end so were turned away.
func (r Reason) refused() bool { return r >= Refused }

// String returns the reason in words, as logs and metrics show it.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Reasons returns all reasons, in order.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Causes with which the context of a connection is cancelled. After all but ErrAborted,
// ErrKilled and ErrEnded reads fail with an error that wraps it, while writes go on.
var (
	ErrShutdown     = protocol.ErrShutdown
	ErrAborted      = errors.New("the shutdown limit has passed")
	ErrKilled       = errors.New("the connection was killed")
	ErrEnded        = protocol.ErrEnded
	ErrIdleTimeout  = errors.New("nothing was carried for longer than the idle limit")
	ErrReadTimeout  = errors.New("nothing was received for longer than the read limit")
	ErrWriteTimeout = errors.New("nothing was sent for longer than the write limit")
	ErrExpired      = errors.New("the connection has reached its lifetime")
	ErrEvicted      = errors.New("the connection had to make room: the cap was lowered")
)

// Why connections are refused.
var (
	ErrAtCap       = errors.New("the listener is at its cap")
	ErrPerAddress  = errors.New("the address has too many connections")
	ErrAddressRate = errors.New("the address connects too often")
)

// causes are the reasons that have an error of their own.
var causes = map[Reason]error{
	Shutdown: ErrShutdown, IdleTimeout: ErrIdleTimeout, ReadTimeout: ErrReadTimeout, WriteTimeout: ErrWriteTimeout,
	Expired: ErrExpired, Evicted: ErrEvicted, Refused: ErrShutdown,
	RefusedAtCap: ErrAtCap, RefusedAddress: ErrPerAddress, RefusedRate: ErrAddressRate,
}

func (r Reason) cause() error { return causes[r] }

// PanicError is how a connection ended whose protocol panicked.
type PanicError struct {
	Value any    // what was given to panic; nil if the goroutine was ended by runtime.Goexit
	Stack []byte // the goroutine's stack at that place
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "goroutine ended by runtime.Goexit"
	}
	return fmt.Sprintf("panic: %v", e.Value)
}

// Unwrap returns the value given to panic, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ReasonOf tells from the error that a protocol returned why its connection ended.
func ReasonOf(err error) Reason {
	if err == nil {
		return Finished
	}
	return reasonOf(err)
}

func reasonOf(err error) Reason {
	var p *PanicError
	switch {
	case errors.As(err, &p):
		return Panicked
	case errors.Is(err, ErrShutdown):
		return Shutdown
	case errors.Is(err, ErrPerAddress):
		return RefusedAddress
	case errors.Is(err, ErrAddressRate):
		return RefusedRate
	case errors.Is(err, transport.ErrSendTimeout):
		return SendTimeout
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, protocol.ErrQueueFull):
		return QueueFull
	case errors.Is(err, protocol.ErrBadInput):
		return BadInput
	case peerGone(err):
		return PeerClosed
	}
	for r := IdleTimeout; r <= Evicted; r++ {
		if errors.Is(err, r.cause()) {
			return r
		}
	}
	if errors.Is(err, net.ErrClosed) { // the protocol closed it itself, then read
		return Finished
	}
	return Failed
}
func peerGone(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT, syscall.ECONNABORTED} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
