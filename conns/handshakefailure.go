package conns

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"goranch/internal/engine"
	"goranch/transport"
)

// HandshakeFailure is why a connection ended before its protocol was called, unless it was refused.
// It distinguishes causes that need different remedies, and is identified by its String; the error
// of the connection has the details.
type HandshakeFailure uint8

const (
	failureOther       HandshakeFailure = iota // any other error of the transport
	failureTimeout                             // not completed within the HandshakeTimeout
	failurePeerClosed                          // the peer closed the connection
	failureNotTLS                              // the peer sent data that is not TLS
	failureAlert                               // the peer refused the server's certificate or parameters
	failureCertificate                         // the certificate of the client is not valid
	failureUnknownHost                         // the client asked for a host without a certificate
	failureProxyHeader                         // the PROXY header is missing, bad or not trusted
	failurePanic                               // the transport, or a hook, panicked
	failureStopped                             // the server ended the connection before
	numHandshakeFailures
)

var handshakeFailureNames = [numHandshakeFailures]string{
	"other", "timeout", "peer closed", "not TLS", "alert", "client certificate", "unknown host",
	"PROXY header", "panicked", "stopped",
}

// String returns the cause, as in metrics: "timeout", "peer closed", "not TLS", "alert",
// "client certificate", "unknown host", "PROXY header", "panicked", "stopped" or "other".
func (f HandshakeFailure) String() string {
	if f < numHandshakeFailures {
		return handshakeFailureNames[f]
	}
	return fmt.Sprintf("HandshakeFailure(%d)", uint8(f))
}

// handshakeFailure classifies the end of a connection whose protocol was not called.
//
//go:noinline
func handshakeFailure(why Reason, err error) HandshakeFailure {
	switch why {
	case HandshakeTimeout:
		return failureTimeout
	case Panicked:
		return failurePanic
	case HandshakeFailed:
	default:
		return failureStopped
	}
	var (
		record tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		op     *net.OpError
	)
	switch err := err; {
	case engine.IsHeaderError(err):
		return failureProxyHeader
	case errors.Is(err, transport.ErrUnknownHost):
		return failureUnknownHost
	case errors.As(err, &record):
		return failureNotTLS
	case errors.As(err, &cert):
		return failureCertificate
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls reports an alert
		return failureAlert
	case closedByPeer(err):
		return failurePeerClosed
	}
	return failureOther
}
