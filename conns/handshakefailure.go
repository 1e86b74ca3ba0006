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
// It distinguishes a few causes that need different remedies; the error of the connection says more.
type HandshakeFailure uint8

const (
	HandshakeOther        HandshakeFailure = iota // any other error of the transport
	HandshakeExpired                              // not completed within the HandshakeTimeout
	HandshakeDisconnected                         // the peer closed the connection
	HandshakeNotTLS                               // the peer sent something else than TLS
	HandshakeAlert                                // the peer refused the server's certificate or parameters
	HandshakeCertificate                          // the certificate of the client is not valid
	HandshakeUnknownHost                          // the client asked for a host without a certificate
	HandshakeProxyHeader                          // the PROXY header is missing, bad or not trusted
	HandshakePanicked                             // the transport, or a hook, panicked
	HandshakeStopped                              // the server ended the connection before
	numHandshakeFailures
)

var handshakeFailureNames = [numHandshakeFailures]string{
	"other", "timeout", "peer closed", "not TLS", "alert", "client certificate", "unknown host",
	"PROXY header", "panicked", "stopped",
}

// String returns the cause in words, as in metrics.
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
		return HandshakeExpired
	case Panicked:
		return HandshakePanicked
	case HandshakeFailed:
	default:
		return HandshakeStopped
	}
	var (
		record tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		op     *net.OpError
	)
	switch err := err; {
	case engine.IsHeaderError(err):
		return HandshakeProxyHeader
	case errors.Is(err, transport.ErrUnknownHost):
		return HandshakeUnknownHost
	case errors.As(err, &record):
		return HandshakeNotTLS
	case errors.As(err, &cert):
		return HandshakeCertificate
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls reports an alert
		return HandshakeAlert
	case closedByPeer(err):
		return HandshakeDisconnected
	}
	return HandshakeOther
}
