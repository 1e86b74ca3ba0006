package transport

import (
	"errors"
	"net"
	"os"

	"goranch/internal/listenaddr"
)

// Errors are wrapped by the errors that this package returns; use errors.Is.
var (
	// ErrBadAddr is the error for an address that has none of the known forms.
	ErrBadAddr = listenaddr.ErrBad

	// ErrNotInherited is the error of Listen on "fd:N" or "systemd:NAME" if this process has
	// inherited no such listening stream socket. Its text lists the sockets that exist.
	ErrNotInherited = errors.New("no such inherited listening socket")

	// ErrNoCertificate is the error of Listen and Handshake of a [TLS] whose Config has no source
	// of certificates.
	ErrNoCertificate = errors.New("no certificate: set Certificates, GetCertificate or GetConfigForClient")

	// ErrSendTimeout is the error of a write that the peer did not accept within the send timeout.
	// It is a timeout for net.Error, and matches os.ErrDeadlineExceeded.
	ErrSendTimeout error = sendTimeoutError{}

	// ErrBuffered is the error of [Conn.Upgrade] if plain text was read ahead. An attacker can send
	// plain text after the STARTTLS request, to have it taken for data received over TLS.
	ErrBuffered = errors.New("plain text has been read ahead")

	// ErrUnknownHost is the error of a function given to [OnHello] for a host name that is not
	// served. The client then receives the alert unrecognized_name; after any other error,
	// crypto/tls sends internal_error.
	ErrUnknownHost = errors.New("unknown host name")
)

type sendTimeoutError struct{}

func (sendTimeoutError) Error() string        { return "send timeout" }
func (sendTimeoutError) Timeout() bool        { return true }
func (sendTimeoutError) Temporary() bool      { return false }
func (sendTimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

func opError(op string, nc net.Conn, err error) error {
	return &net.OpError{Op: op, Net: nc.LocalAddr().Network(), Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
}
