package sniff

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// Upgrade is a [protocol.Protocol] that does the handshake of another transport, of which
// the beginning may have been looked at, and has the connection served by a protocol above it.
type Upgrade struct {
	// To is the transport, such as transport.TLS{Config: …}.
	To transport.Transport
	// Protocol serves the connection.
	Protocol protocol.Protocol
	// Choose, if set, chooses another by what was agreed upon: the server's name (SNI), ALPN,
	// the client's certificate. nil from it means Protocol.
	Choose func(tls.ConnectionState) protocol.Protocol
	// Timeout is the limit for the handshake. 0 is 5 s; a negative one means no limit.
	Timeout time.Duration
}

// ErrHandshake is wrapped by how a connection ended whose handshake failed.
var ErrHandshake = badInput("handshake failed")

var _ protocol.Drainer = (*Upgrade)(nil)

// Validate reports every field that cannot be used; each fault is [ErrBadConfig]. [New] does
// it for those among its rules.
func (u *Upgrade) Validate() error {
	var faults []error
	if u.To == nil {
		faults = append(faults, fmt.Errorf("%w: To nil: use transport.TLS{…}", ErrBadConfig))
	} else if v, ok := u.To.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: To: %w", ErrBadConfig, err))
		}
	}
	if t, ok := u.To.(transport.TLS); ok && !hasCertificate(t.Config) {
		faults = append(faults, fmt.Errorf("%w: To: %w", ErrBadConfig, engine.ErrNoCertificate))
	}
	if u.Protocol == nil {
		faults = append(faults, fmt.Errorf("%w: Protocol nil: an upgrade needs one", ErrBadConfig))
	}
	return errors.Join(faults...)
}

func hasCertificate(c *tls.Config) bool {
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// DrainsItself makes it a [protocol.Drainer]: it tells a Protocol that is none.
func (u *Upgrade) DrainsItself() {}

// Serve does the handshake and has conn served.
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
	return pass(ctx, conn, p)
}

func (u *Upgrade) handshake(ctx context.Context, conn *transport.Conn) error {
	defer stopWith(ctx, conn)()
	limit := u.Timeout
	switch {
	case limit < 0:
		limit = 1<<63 - 1 // without a deadline Switch would take its default
	case limit == 0:
		limit = engine.UpgradeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return engine.Of(conn).UpgradePeeked(ctx, u.To)
}
