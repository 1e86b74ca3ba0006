package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// OnHello returns a copy of c (nil: an empty configuration) whose handshakes call f after the
// ClientHello. f returns the configuration for the connection, whose own GetConfigForClient is
// called next; nil for c; or an error, which ends the handshake and is wrapped by its error.
// OnHello is called once per listener, because session tickets are bound to the configuration that
// it returns.
//
// ctx is the context of the handshake. hello.Conn is the argument of Handshake, which f must not
// read or write; its RemoteAddr is that of the client, also behind a proxy. f is called by many
// connections at once, and must not change a configuration that it has returned. TLS.Validate does
// not check the results of f.
func OnHello(c *tls.Config, f func(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Config, error)) *tls.Config {
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

// refusal transports the error of f to the end of the handshake: crypto/tls replaces it by an error
// of its own when it sends the alert unrecognized_name.
type refusal struct{ err error }

type refusalKey struct{}

// noCertificate makes crypto/tls send the alert unrecognized_name. Tickets are disabled because a
// resumed session needs no certificate.
var noCertificate = &tls.Config{SessionTicketsDisabled: true}

func refuse(hello *tls.ClientHelloInfo, err error) (*tls.Config, error) {
	err = fmt.Errorf("refused after the ClientHello: %w", err)
	if r, ok := hello.Context().Value(refusalKey{}).(*refusal); ok && errors.Is(err, ErrUnknownHost) {
		r.err = err
		return noCertificate, nil
	}
	return nil, err
}

// serverHandshake runs the server's side of the handshake.
func serverHandshake(ctx context.Context, tc *tls.Conn) error {
	r := new(refusal)
	err := tc.HandshakeContext(context.WithValue(ctx, refusalKey{}, r))
	if err != nil && r.err != nil {
		return r.err
	}
	return err
}
