package transport

import (
	"context"
	"crypto/tls"
	"net"
)

// TLS is the transport for TLS over what [TCP] listens on. Its zero value can dial,
// but to listen it needs a certificate.
type TLS struct {
	// Config is the server's and the client's configuration. The server's needs
	// Certificates, GetCertificate or GetConfigForClient. nil is an empty one. It must
	// not be changed once in use.
	//
	// Versions, cipher suites, ALPN, session tickets and client certificates are its
	// fields. Package transport/certs makes one whose certificates are reloaded;
	// [OnHello] makes one that decides when it has seen the client's first message.
	Config *tls.Config
	// TCP holds the options of the sockets below.
	TCP TCP
}

// Name returns "tls".
func (TLS) Name() string { return "tls" }

// Secure returns true.
func (TLS) Secure() bool { return true }

// Listen opens a listening socket like that of [TCP]. It returns [ErrNoCertificate]
// when there is nothing a handshake could present, and what Validate does.
//
// The listener accepts plain connections: Handshake turns them into TLS later, in the
// connection's own goroutine.
func (t TLS) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.listenable(); err != nil {
		return nil, err
	}
	return t.TCP.Listen(ctx, addr)
}

// ListenShared is Listen for a socket that shares its port; see [TCP.ListenShared].
func (t TLS) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	if err := t.listenable(); err != nil {
		return nil, err
	}
	return t.TCP.ListenShared(ctx, addr)
}

func (t TLS) listenable() error {
	if !t.presents() {
		return ErrNoCertificate
	}
	return t.Validate()
}

// presents reports whether there may be a certificate for a client.
func (t TLS) presents() bool {
	c := t.Config
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// Dial connects and completes the handshake. When Config names no ServerName, the
// host of addr is the name that the server's certificate must be good for; a Unix socket
// has none, so there Config has to say it.
func (t TLS) Dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := t.TCP.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return t.client(ctx, nc, addr)
}

// client runs the client's side of the handshake on nc, which was connected to addr. On error nc
// is closed.
func (t TLS) client(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	c := t.Config
	if c == nil {
		c = &tls.Config{}
	}
	if a, err := ParseAddr(addr); err == nil && a.Network == "tcp" && c.ServerName == "" {
		c = c.Clone()
		c.ServerName, _, _ = net.SplitHostPort(a.Address)
	}
	tc := tls.Client(nc, c)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// Handshake runs the server's side of the TLS handshake. Its error is that of crypto/tls; what
// a callback in Config has returned, such as a [HelloFunc], is wrapped by it. When ctx ends it
// is ctx's, and nc is closed.
func (t TLS) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if !t.presents() {
		return nil, ErrNoCertificate
	}
	nc, err := t.TCP.Handshake(ctx, nc)
	if err != nil {
		return nil, err
	}
	tc := tls.Server(nc, t.Config)
	if err := serve(ctx, tc); err != nil {
		return nil, err
	}
	return tc, nil
}

func (t TLS) sendLimit() sendLimit {
	l := t.TCP.sendLimit()
	l.keep = false // a record half written is the end of a TLS stream
	return l
}
