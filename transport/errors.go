package transport

import (
	"errors"
	"net"
	"os"
)

var (
	// ErrSendTimeout is wrapped by the error of a write that the peer did not take
	// within the send timeout. The connection is closed unless its transport says
	// otherwise.
	ErrSendTimeout error = sendTimeoutError{}

	// ErrNoCertificate is returned by the Listen of [TLS] when its configuration holds
	// no certificate and no callback that would supply one.
	ErrNoCertificate = errors.New("no certificate: set Certificates, GetCertificate or GetConfigForClient")
)

// sendTimeoutError is a timeout to whoever asks by net.Error or os.ErrDeadlineExceeded.
type sendTimeoutError struct{}

func (sendTimeoutError) Error() string        { return "send timeout" }
func (sendTimeoutError) Timeout() bool        { return true }
func (sendTimeoutError) Temporary() bool      { return false }
func (sendTimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

func opError(op string, nc net.Conn, err error) error {
	return &net.OpError{Op: op, Net: nc.LocalAddr().Network(), Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
}
