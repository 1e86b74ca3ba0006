package sniff

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

// Upgrade is a [protocol.Protocol] that runs the handshake of another transport on the connection,
// and serves the result by another protocol. The beginning of the handshake may have been examined.
type Upgrade struct {
	// To is the transport, such as transport.TLS{Config: …}.
	To transport.Transport
	// Protocol serves the connection.
	Protocol protocol.Protocol
	// Choose selects another protocol by the result of the TLS handshake: server name (SNI), ALPN,
	// client certificate. If Choose is nil or returns nil, Protocol is used.
	Choose func(tls.ConnectionState) protocol.Protocol
	// Timeout limits the handshake. 0 is 5 s; transport.NoTimeout, or any negative value, is no
	// limit.
	Timeout time.Duration
}

// ErrHandshake is wrapped by the error of a connection whose handshake failed. It is
// [protocol.ErrBadInput].
var ErrHandshake = fmt.Errorf("%w: handshake failed", protocol.ErrBadInput)

var _ protocol.Drainer = (*Upgrade)(nil)

// Validate reports all fields that cannot be used. [New] calls it.
func (u *Upgrade) Validate() error {
	var f option.Faults
	if u.To == nil {
		f.Bad("To", nil, "transports such as transport.TLS{…}")
	} else if v, ok := u.To.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			f.Add(fmt.Errorf("option To: %w", err))
		}
	}
	if t, ok := u.To.(transport.TLS); ok && !hasCertificate(t.Config) {
		f.Add(fmt.Errorf("option To: %w", transport.ErrNoCertificate))
	}
	if u.Protocol == nil {
		f.Bad("Protocol", nil, "protocols other than nil")
	}
	return f.Err()
}

func hasCertificate(c *tls.Config) bool {
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// DrainsItself implements [protocol.Drainer]: a stop is passed on to Protocol.
func (u *Upgrade) DrainsItself() {}

// Serve runs the handshake and serves conn. It returns the error of Protocol, [ErrHandshake], or,
// if u was not checked by [New], all fields that cannot be used.
func (u *Upgrade) Serve(ctx context.Context, conn *transport.Conn) error {
	if err := u.Validate(); err != nil {
		return err
	}
	if err := u.handshake(ctx, conn); err != nil {
		return fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	p := u.Protocol
	if state, ok := conn.TLS(); ok && u.Choose != nil {
		if chosen := u.Choose(state); chosen != nil {
			p = chosen
		}
	}
	return serve(ctx, conn, p)
}

func (u *Upgrade) handshake(ctx context.Context, conn *transport.Conn) error {
	defer stopReadingWith(ctx, conn)()
	limit := u.Timeout
	switch {
	case limit < 0:
		limit = 1<<63 - 1 // without a deadline UpgradePeeked would use its default
	case limit == 0:
		limit = engine.UpgradeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return engine.Of(conn).UpgradePeeked(ctx, u.To)
}
