// Package proxy implements the PROXY protocol, versions 1 and 2, for any transport: a proxy in
// front of the server sends the addresses of its client in a header before the payload.
//
//	t := proxy.Transport{
//		Inner: transport.TLS{Config: config},
//		Rules: []proxy.Rule{{Net: netip.MustParsePrefix("10.1.0.0/16")}},
//	}
//	l, err := ranch.StartListener("game", t, ranch.Options{Addr: ":443"}, protocol)
//
// RemoteAddr of a connection is then the address of the client, and Proxy returns the header, whose
// TLVs [DetailsOf] decodes. NetConn().RemoteAddr() is the address of the proxy.
//
// The sender of a header can claim any address. Headers are therefore accepted only from the
// networks in Rules; a header from another peer ends the connection.
//
// Dial writes a header: one with the addresses of the connection itself, or one that passes on the
// client of another connection ([Forward]).
//
// The header is read during the handshake, in the goroutine of the connection, before TLS. It is
// limited in size and time. Bytes after it are not consumed.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/transport"
)

const (
	defaultHeaderBytes = 4096
	minHeaderBytes     = sizeUnix // the largest addresses
	maxHeaderBytes     = engine.MaxPeek - fixedSize
)

// Transport adds the PROXY protocol to another transport: Handshake reads a header, Dial writes
// one. It must not be changed once in use.
type Transport struct {
	// Inner is the wrapped transport. It is required.
	Inner transport.Transport

	// Rules are the policies for networks of peers, that is, of proxies. The rule with the longest
	// prefix applies; their order does not matter. A network has at most one rule.
	Rules []Rule
	// Default is the policy for peers to which no rule applies. "" is [Refuse].
	Default Policy
	// Local is the policy for peers without an IP address: those of Unix sockets and of the
	// in-memory transport. "" is [Refuse].
	Local Policy

	// HeaderTimeout limits the time for reading the header, from the beginning of the handshake,
	// and for writing one in Dial. After it the error matches os.ErrDeadlineExceeded. 0 is 3 s;
	// transport.NoTimeout, like any negative value, is no limit but that of the context.
	HeaderTimeout time.Duration
	// MaxHeaderBytes limits the size of a header of version 2 after its first 16 bytes. A larger
	// one fails with [ErrBadHeader]. 0 is 4096; otherwise 216 to 65520 are allowed. Version 1 has
	// at most 107 bytes.
	MaxHeaderBytes int

	// Header is the header that Dial writes; nil is one of version 2 with the addresses of the
	// connection. These are also used if Header has neither Source nor Destination and is not
	// Local. Version 0 is 2.
	Header *transport.ProxyHeader
	// Checksum adds a CRC32C to the header that Dial writes. Version 1 has none.
	Checksum bool
}

// Rule is the policy for a network.
type Rule struct {
	// Net is the network. An IPv4 network also contains the mapped addresses ::ffff:a.b.c.d.
	Net netip.Prefix
	// Policy is the policy for its addresses. "" is [Require].
	Policy Policy
}

// Name returns "proxy+" and the name of the inner transport.
func (t Transport) Name() string {
	if t.Inner == nil {
		return "proxy"
	}
	return "proxy+" + t.Inner.Name()
}

// Secure reports whether the inner transport encrypts the payload. The header is not encrypted.
func (t Transport) Secure() bool { return t.Inner != nil && t.Inner.Secure() }

// Unwrap returns the inner transport.
func (t Transport) Unwrap() transport.Transport { return t.Inner }

// Validate reports all fields with values that cannot be used, those of the inner transport
// included.
func (t Transport) Validate() error {
	var f option.Faults
	t.checkPolicies(&f)
	if t.Inner == nil {
		f.Add(errNoInner)
	} else if v, ok := t.Inner.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			f.Add(fmt.Errorf("option Inner: %w", err))
		}
	}
	if n := t.MaxHeaderBytes; n != 0 && (n < minHeaderBytes || n > maxHeaderBytes) {
		f.Bad("MaxHeaderBytes", n, fmt.Sprintf("%d to %d, and 0 for %d", minHeaderBytes, maxHeaderBytes, defaultHeaderBytes))
	}
	if h := t.Header; h != nil {
		if err := check(h, t.Checksum); err != nil {
			f.Add(fmt.Errorf("option Header: %w", err))
		}
	}
	return f.Err()
}

// Listen opens a listening socket of the inner transport.
func (t Transport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t.Inner.Listen(ctx, addr)
}

// ListenShared opens a listening socket of the inner transport that shares its port. The error
// wraps errors.ErrUnsupported if the inner transport is not a [transport.PortSharer].
func (t Transport) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if s, ok := t.Inner.(transport.PortSharer); ok {
		return s.ListenShared(ctx, addr)
	}
	return nil, fmt.Errorf("transport %s: several sockets on one port: %w", t.Inner.Name(), errors.ErrUnsupported)
}

// Dial connects, writes a header, and continues as the inner transport does. If that is a secure
// transport outside this module, the error wraps errors.ErrUnsupported, because the header must be
// sent before its handshake.
func (t Transport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	s := t.dialSteps()
	nc, err := s.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return s.Client(ctx, nc, addr)
}

// dialSteps returns the steps of Dial: the first connects and writes the header, the second is that
// of the inner transport.
func (t Transport) dialSteps() engine.DialSteps {
	inner, err := innerSteps(t.Inner)
	return engine.DialSteps{
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

func innerSteps(t transport.Transport) (engine.DialSteps, error) {
	switch p := t.(type) {
	case nil:
		return engine.DialSteps{}, nil // Validate reports it
	case Transport:
		return p.dialSteps(), nil
	case *Transport:
		return p.dialSteps(), nil
	}
	if s, ok := engine.StepsOf(t); ok {
		return s, nil
	}
	if t.Secure() {
		return engine.DialSteps{}, fmt.Errorf("a PROXY header before the handshake of transport %s: %w", t.Name(), errors.ErrUnsupported)
	}
	plain := func(_ context.Context, nc net.Conn, _ string) (net.Conn, error) { return nc, nil }
	return engine.DialSteps{Connect: t.Dial, Client: plain}, nil
}

// send writes the header of Dial.
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
	return withTimeout(ctx, t.headerTimeout(), nc.SetWriteDeadline, func() error {
		_, err := nc.Write(b)
		return err
	})
}

// Handshake reads the header under the policy for the peer, and runs the handshake of the inner
// transport. After an error the connection can only be closed.
//
// nc is what a [transport.Conn] passes. For any other connection, Handshake returns
// a new transport.Conn, which may have read ahead: nc must not be used afterwards.
func (t Transport) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if t.Inner == nil {
		return nil, errNoInner
	}
	a, ok := nc.(accepted)
	if !ok {
		c := transport.NewConn(t, nc)
		if err := c.Handshake(ctx); err != nil {
			return nil, err
		}
		return c, nil
	}
	peer := nc.RemoteAddr()
	if w, ok := nc.(interface{ NetConn() net.Conn }); ok { // an outer proxy.Transport has replaced the address
		peer = w.NetConn().RemoteAddr()
	}
	if p := t.policy(peer); p != Pass {
		read := func() error { return t.receive(a, p) }
		if err := withTimeout(ctx, t.headerTimeout(), a.SetReadDeadline, read); err != nil {
			return nil, fmt.Errorf("PROXY header from %v: %w", peer, err)
		}
		if !engine.BehindProxy(t.Inner, peer) { // else the header of the inner transport names the client
			if err := engine.Admit(ctx); err != nil {
				return nil, err
			}
		}
	}
	return t.Inner.Handshake(ctx, nc)
}

func (t Transport) headerTimeout() time.Duration {
	return cmp.Or(t.HeaderTimeout, 3*time.Second)
}

func (t Transport) maxHeaderBytes() int { return cmp.Or(t.MaxHeaderBytes, defaultHeaderBytes) }
