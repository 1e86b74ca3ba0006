package proxy

import (
	"errors"
	"fmt"
)

// Errors of handshakes, [Format] and [Transport.Validate] wrap one of these. A header that is
// incomplete after HeaderTimeout is an os.ErrDeadlineExceeded.
var (
	// ErrNoHeader reports that a peer under the policy [Require] sent no header.
	ErrNoHeader = errors.New("no header")
	// ErrRefused reports a header from a peer under the policy [Refuse].
	ErrRefused = errors.New("the peer is not trusted to send a header")
	// ErrBadHeader reports a header that is malformed, incomplete or too long or has a wrong
	// checksum, or one that cannot be written.
	ErrBadHeader = errors.New("bad PROXY header")
)

var errNoInner = errors.New("option Inner nil: allowed are transports, such as transport.TCP{}")

// The kinds of ErrBadHeader when a header is read.
var (
	errMalformed = fmt.Errorf("%w: malformed", ErrBadHeader)
	errChecksum  = fmt.Errorf("%w: wrong checksum", ErrBadHeader)
	errTooLarge  = fmt.Errorf("%w: too large", ErrBadHeader)
)

func badHeader(err error) error { return fmt.Errorf("%w: %w", ErrBadHeader, err) }

func malformed(err error) error { return fmt.Errorf("%w: %w", errMalformed, err) }

func malformedf(format string, args ...any) error {
	return malformed(fmt.Errorf(format, args...))
}
