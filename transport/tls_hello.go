package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

var (
	// ErrRefused is wrapped, beside the reason, by the error of a handshake that a
	// [HelloFunc] has ended.
	ErrRefused = errors.New("refused after the ClientHello")

	// ErrUnknownHost is wrapped by the reason of a [HelloFunc] that serves no such host
	// name. The client is told so by the alert unrecognized_name; for other reasons
	// crypto/tls knows no alert but internal_error.
	ErrUnknownHost = errors.New("unknown host name")
)

// HelloFunc sees what the client has said first, and chooses how the handshake goes on.
// It returns the configuration for this connection; nil for the one it would have had; or
// an error, which ends the handshake and is wrapped by that of [Conn.Handshake] and
// [Conn.Upgrade].
//
// ctx is that of the handshake, with its limit. hello.Conn is an [Accepted]: its
// RemoteAddr is the client's, behind a proxy too. It must not be read or written. A
// HelloFunc runs in each connection's own goroutine, so in many at once, and must not
// change a configuration that it has returned before. TLS.Validate cannot look at what it returns.
type HelloFunc func(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Config, error)

// OnHello returns a copy of c, whose handshakes ask f as soon as the ClientHello is there. If
// what f returns has a GetConfigForClient of its own, as those of package transport/certs have,
// that is asked in turn; if f returns nil, that of c is. nil for c is an empty one, nil for f
// none.
//
// It is called once per listener, not per connection: session tickets belong to the
// configuration that it returns, unless f returns one with keys of its own.
func OnHello(c *tls.Config, f HelloFunc) *tls.Config {
	if c = c.Clone(); c == nil {
		c = new(tls.Config)
	}
	if f == nil {
		return c
	}
	own := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen, err := f(hello.Context(), hello)
		if err != nil {
			return refuse(hello, err)
		}
		next := own
		if chosen != nil {
			next = chosen.GetConfigForClient
		}
		if next != nil {
			if last, err := next(hello); last != nil || err != nil {
				return last, err
			}
		}
		return chosen, nil
	}
	return c
}

// refusal is how a reason gets past crypto/tls, which has its own error for the one case
// in which it sends unrecognized_name.
type refusal struct{ err error }

type refusalKey struct{}

// nobody has no certificate, to which crypto/tls answers unrecognized_name. A ticket must not spare
// the client that.
var nobody = &tls.Config{SessionTicketsDisabled: true}

func refuse(hello *tls.ClientHelloInfo, err error) (*tls.Config, error) {
	err = fmt.Errorf("%w: %w", ErrRefused, err)
	if r, ok := hello.Context().Value(refusalKey{}).(*refusal); ok && errors.Is(err, ErrUnknownHost) {
		r.err = err
		return nobody, nil
	}
	return nil, err
}

// serve runs the server's side of the handshake.
func serve(ctx context.Context, tc *tls.Conn) error {
	r := new(refusal)
	err := tc.HandshakeContext(context.WithValue(ctx, refusalKey{}, r))
	if err != nil && r.err != nil {
		return r.err
	}
	return err
}
