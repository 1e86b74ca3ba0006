// Package proxy is the PROXY protocol, versions 1 and 2, as an option of any transport:
// a proxy in front of the server says in a header, before the first byte of payload,
// who its client is.
//
//	t := proxy.Transport{
//		Inner: transport.TLS{Config: config},
//		Rules: []proxy.Rule{{Net: netip.MustParsePrefix("10.1.0.0/16")}},
//	}
//	l, err := ranch.StartListener("game", t, ranch.Options{Addr: ":443"}, protocol)
//
// From then on a connection's RemoteAddr is the client's, and its method Proxy returns
// the whole header, of which [SSL], [Authority], [UniqueID] and others tell the
// particulars; it is nil, of which they tell none, where there was no header.
// NetConn().RemoteAddr() is still the proxy.
//
// Whoever may send a header may claim any address. So only the networks in Rules are
// believed; a header from elsewhere ends the connection.
//
// Dial writes a header: of the connection itself, or one that passes on the client of a
// connection ([Forward]).
//
// The header is read in the connection's own goroutine, during the handshake; TLS comes
// after it. Not a byte behind it is taken. It is limited in size and time.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
)

// Defaults and limits of [Transport].
const (
	DefaultHeaderTimeout  = 3 * time.Second
	DefaultMaxHeaderBytes = 4096

	minHeaderBytes = sizeUnix // each address fits
	maxHeaderBytes = transport.MaxPeek - fixedSize
)

// Transport is another transport behind a proxy, or in front of a server that wants to
// hear of one. It must not be changed once in use.
type Transport struct {
	// Inner is the transport that everything else is left to. There must be one.
	Inner transport.Transport

	// Rules say what holds for which network of peers, a peer being who has connected:
	// the proxy. The rule with the longest prefix wins; their order does not matter. A
	// network has one rule at most.
	Rules []Rule
	// Default is the policy for peers of no rule's network. 0 is [Refuse].
	Default Policy
	// Local is the policy for peers that have no IP address: those on Unix sockets, and
	// of the in-memory transport. 0 is [Refuse].
	Local Policy

	// HeaderTimeout is the time for the whole header, from the beginning of the handshake;
	// then the handshake fails with [ErrTimeout]. Dial has as long to write one. 0 is 3 s;
	// negative means no limit but that of the context.
	HeaderTimeout time.Duration
	// MaxHeaderBytes is how long a header of version 2 may be, after the 16 bytes that it
	// begins with; then the handshake fails with [ErrTooLarge]. 0 is 4096; otherwise 216 to 65520.
	// Version 1 has at most 107 bytes.
	MaxHeaderBytes int

	// Header is what Dial writes, nil the header of version 2 with the addresses of
	// the connection itself. Its Version 0 is 2. If it has neither Source nor Destination
	// and is not Local, they too are those of the connection.
	Header *transport.ProxyHeader
	// Checksum adds a CRC32C to the header that Dial writes. Version 1 has none.
	Checksum bool
}

// Rule is the policy for a network.
type Rule struct {
	// Net is the network. IPv4 is written as such, also where it arrives as ::ffff:a.b.c.d.
	Net netip.Prefix
	// Policy says what holds for it. 0 is [Require].
	Policy Policy
}

// Name returns "proxy+" and the name of the inner transport.
func (t Transport) Name() string {
	if t.Inner == nil {
		return "proxy"
	}
	return "proxy+" + t.Inner.Name()
}

// Secure reports whether the inner transport encrypts the payload. The header is never
// encrypted.
func (t Transport) Secure() bool { return t.Inner != nil && t.Inner.Secure() }

// Unwrap returns the inner transport.
func (t Transport) Unwrap() transport.Transport { return t.Inner }

// Validate reports every field that cannot be used, those of the inner transport
// included.
func (t Transport) Validate() error {
	faults := t.checkPolicies()
	if t.Inner == nil {
		faults = append(faults, errNoInner)
	} else if v, ok := t.Inner.(transport.Validator); ok {
		if err := v.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("option Inner: %w", err))
		}
	}
	if n := t.MaxHeaderBytes; n != 0 && (n < minHeaderBytes || n > maxHeaderBytes) {
		faults = append(faults, fmt.Errorf("option MaxHeaderBytes %d: allowed are %d to %d, and 0 for %d", n, minHeaderBytes, maxHeaderBytes, DefaultMaxHeaderBytes))
	}
	if h := t.Header; h != nil {
		if err := check(h, t.Checksum); err != nil {
			faults = append(faults, fmt.Errorf("option Header: %w", err))
		}
	}
	return errors.Join(faults...)
}

// Listen opens a listening socket of the inner transport.
func (t Transport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t.Inner.Listen(ctx, addr)
}

// ListenShared opens a listening socket of the inner transport that shares its port. The error is
// errors.ErrUnsupported if the inner transport is no [transport.PortSharer].
func (t Transport) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if s, ok := t.Inner.(transport.PortSharer); ok {
		return s.ListenShared(ctx, addr)
	}
	return nil, fmt.Errorf("transport %s: several sockets on one port: %w", t.Inner.Name(), errors.ErrUnsupported)
}

// Dial connects, writes a header, and continues as the inner transport does. The inner transport
// is one of package transport, another Transport, or one that is not secure: for other secure
// transports the error is errors.ErrUnsupported, because the header goes before their handshake.
func (t Transport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	s := t.dialSteps()
	nc, err := s.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return s.Client(ctx, nc, addr)
}

// dialSteps returns the steps of Dial: the first connects and writes the header, the second is the
// second one of the inner transport.
func (t Transport) dialSteps() engine.DialStep {
	inner, err := innerSteps(t.Inner)
	return engine.DialStep{
		Connect: func(ctx context.Context, addr string) (net.Conn, error) {
			if err := errors.Join(t.Validate(), err); err != nil {
				return nil, err
			}
			nc, err := inner.Connect(ctx, addr)
			if err != nil {
				return nil, err
			}
			if err := t.send(ctx, nc); err != nil {
				nc.Close()
				return nil, fmt.Errorf("write a PROXY header to %s: %w", addr, err)
			}
			return nc, nil
		},
		Client: inner.Client,
	}
}

func innerSteps(t transport.Transport) (engine.DialStep, error) {
	switch p := t.(type) {
	case nil:
		return engine.DialStep{}, nil // Validate reports it
	case Transport:
		return p.dialSteps(), nil
	case *Transport:
		return p.dialSteps(), nil
	}
	if s, ok := engine.DialSteps(t); ok {
		return s, nil
	}
	if t.Secure() {
		return engine.DialStep{}, fmt.Errorf("a PROXY header before the handshake of transport %s: %w", t.Name(), errors.ErrUnsupported)
	}
	plain := func(_ context.Context, nc net.Conn, _ string) (net.Conn, error) { return nc, nil }
	return engine.DialStep{Connect: t.Dial, Client: plain}, nil
}

// send writes the header that Dial is to write.
func (t Transport) send(ctx context.Context, nc net.Conn) error {
	h := transport.ProxyHeader{}
	if t.Header != nil {
		h = *t.Header
	}
	if h.Source == nil && h.Destination == nil && !h.Local {
		h.Source, h.Destination = nc.LocalAddr(), nc.RemoteAddr()
	}
	b, err := Format(&h, t.Checksum)
	if err != nil {
		return err
	}
	return limited(ctx, t.headerTimeout(), nc.SetWriteDeadline, func() error {
		_, err := nc.Write(b)
		return err
	})
}

// Handshake reads the header, as the policy for the peer says, and goes on with the
// handshake of the inner transport. On error the connection can only be closed.
//
// nc is what a [transport.Conn] gives to its transport. Another connection is put into
// one, and that is returned: it has read ahead, so nc must not be used any more.
func (t Transport) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	a, ok := nc.(transport.Accepted)
	if !ok {
		c := transport.NewConn(t, nc)
		if err := c.Handshake(ctx); err != nil {
			return nil, err
		}
		return c, nil
	}
	peer := a.NetConn().RemoteAddr()
	if p := t.policy(peer); p != Pass {
		read := func() error { return t.receive(a, p) }
		if err := limited(ctx, t.headerTimeout(), a.SetReadDeadline, read); err != nil {
			return nil, fmt.Errorf("PROXY header from %v: %w", peer, err)
		}
	}
	return t.Inner.Handshake(ctx, nc)
}

func (t Transport) headerTimeout() time.Duration {
	if t.HeaderTimeout == 0 {
		return DefaultHeaderTimeout
	}
	return t.HeaderTimeout
}

func (t Transport) maxHeaderBytes() int {
	if t.MaxHeaderBytes == 0 {
		return DefaultMaxHeaderBytes
	}
	return t.MaxHeaderBytes
}
