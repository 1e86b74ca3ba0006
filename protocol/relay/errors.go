package relay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"goranch/protocol"
	"goranch/transport"
)

// Failure is the kind of a failure of an upstream.
type Failure uint8

const (
	DialFailed      Failure = iota // not connected, for another reason than the following two
	DialRefused                    // nothing listens at the address
	DialTimeout                    // not connected within Options.DialTimeout
	HeaderFailed                   // the PROXY header could not be sent
	HandshakeFailed                // the handshake of the transport failed, or took too long
	Reset                          // the connection was reset, or failed in another way
	SendTimeout                    // the upstream did not accept data within the send timeout of its transport
	NoneAvailable                  // all upstreams fail their health checks or have their maximum of connections
	numFailures
)

var failureNames = [numFailures]string{
	"dial failed", "dial refused", "dial timeout", "PROXY header failed", "handshake failed", "reset", "send timeout",
	"none available",
}

// String returns the kind in words, as in metrics.
func (f Failure) String() string {
	if f < numFailures {
		return failureNames[f]
	}
	return fmt.Sprintf("Failure(%d)", uint8(f))
}

// Error is the error of a connection that has ended because of an upstream. It is
// [protocol.ErrUpstream].
type Error struct {
	Addr    string // of the upstream; "" for NoneAvailable
	Failure Failure
	Err     error // the cause; nil for NoneAvailable
}

func (e *Error) Error() string {
	s := "upstream"
	if e.Addr != "" {
		s += " " + e.Addr
	}
	s += ": " + e.Failure.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is [protocol.ErrUpstream].
func (e *Error) Is(target error) bool { return target == protocol.ErrUpstream }

// dialFailure returns the kind of an error of Dial. ctx is that of the attempt.
func dialFailure(ctx context.Context, err error) Failure {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return DialRefused
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return DialTimeout
	}
	return DialFailed
}

// connFailure returns the kind of an error of an established connection.
func connFailure(err error) Failure {
	if errors.Is(err, transport.ErrSendTimeout) {
		return SendTimeout
	}
	return Reset
}
