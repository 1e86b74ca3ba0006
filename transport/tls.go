package transport

import (
	"context"
	"crypto/tls"
	"net"
)

// TLS is the transport for TLS over the sockets of [TCP]. Its zero value can dial; Listen and
// Handshake need a certificate.
type TLS struct {
	// Config is the configuration of server and client; nil is an empty one. A server needs
	// Certificates, GetCertificate or GetConfigForClient. It must not be changed once in use.
	//
	// Package transport/certs provides a configuration that reloads certificates from files.
	// [OnHello] provides one that is chosen by the ClientHello.
	Config *tls.Config
	// TCP holds the options of the sockets.
	TCP TCP
}

// Name returns "tls".
func (TLS) Name() string { return "tls" }

// Secure returns true.
func (TLS) Secure() bool { return true }

// Listen opens a listening socket as [TCP.Listen] does, after Validate. Without a certificate it
// returns an error. The listener accepts plain connections: Handshake runs TLS later, in the
// goroutine of the connection.
func (t TLS) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.checkListen(); err != nil {
		return nil, err
	}
	return t.TCP.Listen(ctx, addr)
}

// ListenShared implements [PortSharer]; see [TCP.ListenShared].
func (t TLS) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.checkListen(); err != nil {
		return nil, err
	}
	return t.TCP.ListenShared(ctx, addr)
}

func (t TLS) checkListen() error {
	if !t.hasCertificate() {
		return ErrNoCertificate
	}
	return t.Validate()
}

// hasCertificate reports whether the configuration has a source of certificates.
func (t TLS) hasCertificate() bool {
	c := t.Config
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// Dial connects and completes the handshake. If Config has no ServerName, the certificate of the
// server must be valid for the host of addr. A Unix socket has no host: there, Config must have a
// ServerName.
func (t TLS) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := t.TCP.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return t.client(ctx, nc, addr)
}

// client runs the client's side of the handshake on nc, which is connected to addr, and closes nc
// on error.
func (t TLS) client(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	c := t.Config
	if c == nil {
		c = &tls.Config{}
	}
	if network, address, err := ParseAddr(addr); err == nil && network == "tcp" && c.ServerName == "" {
		c = c.Clone()
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	tc := tls.Client(nc, c)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// Handshake runs the server's side of the TLS handshake. Its error is that of crypto/tls, and wraps
// the errors of callbacks in Config. If ctx ends, the error is that of ctx, and nc is closed.
func (t TLS) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if !t.hasCertificate() {
		return nil, ErrNoCertificate
	}
	nc, err := t.TCP.Handshake(ctx, nc)
	if err != nil {
		return nil, err
	}
	tc := tls.Server(nc, t.Config)
	if err := serverHandshake(ctx, tc); err != nil {
		return nil, err
	}
	return tc, nil
}

func (t TLS) sendLimit() sendLimit {
	l := t.TCP.sendLimit()
	l.keepOpen = false // an incomplete record ends a TLS stream
	return l
}
