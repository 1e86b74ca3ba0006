package relay

import (
	"context"
	"net"
	"time"

	"goranch/internal/engine"
	"goranch/transport"
	"goranch/transport/proxy"
)

// connect connects to an upstream for client, or to others if that fails.
func (r *Relay) connect(ctx context.Context, client *transport.Conn) (*session, error) {
	o := r.opts.Load()
	attempts := o.Attempts
	if attempts < 0 {
		attempts = maxUpstreams
	}
	var tried []*upstream
	var last *Error
	for range attempts {
		u := r.pick(tried)
		if u == nil {
			break
		}
		server, err := o.dial(ctx, u.addr, client)
		if err == nil {
			s := newSession(ctx, r, u, client, server)
			r.begin(s)
			client.SetLabel("upstream", u.addr) // without it if the address is too long
			return s, nil
		}
		if ctx.Err() != nil {
			r.dialFailed(u, nil)
			return nil, context.Cause(ctx)
		}
		last = err
		r.dialFailed(u, last)
		tried = append(tried, u)
	}
	if last != nil {
		return nil, last
	}
	return nil, r.noneAvailable()
}

func (r *Relay) noneAvailable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unavailable++
	return &Error{Failure: NoneAvailable}
}

// dial connects to addr, sends the PROXY header, and runs the handshake of the transport.
func (o *Options) dial(ctx context.Context, addr string, client *transport.Conn) (*transport.Conn, *Error) {
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	steps, stepwise := engine.StepsOf(o.Transport)
	if !stepwise {
		steps.Connect = o.Transport.Dial
	}
	nc, err := steps.Connect(ctx, addr)
	if err != nil {
		return nil, &Error{addr, dialFailure(ctx, err), err}
	}
	if o.ProxyHeader > 0 {
		if err := sendHeader(ctx, nc, forwarded(client, o.ProxyHeader)); err != nil {
			nc.Close()
			return nil, &Error{addr, HeaderFailed, err}
		}
	}
	server := transport.NewConn(outgoing{o.Transport, steps, addr}, nc)
	if stepwise {
		if err := server.Handshake(ctx); err != nil {
			server.Abort()
			return nil, &Error{addr, HandshakeFailed, err}
		}
	}
	return server, nil
}

// forwarded returns the PROXY header with which client is passed on.
func forwarded(client *transport.Conn, version int) *transport.ProxyHeader {
	h := proxy.Forward(client)
	if h.Version = version; version == 1 {
		h.TLVs = nil
	}
	return h
}

// sendHeader sends a PROXY header until ctx ends.
func sendHeader(ctx context.Context, nc net.Conn, h *transport.ProxyHeader) error {
	b, err := proxy.Format(h, false)
	if err != nil {
		return err
	}
	limit, _ := ctx.Deadline()
	nc.SetWriteDeadline(limit)
	defer nc.SetWriteDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { nc.SetWriteDeadline(time.Unix(1, 0)) })()
	_, err = nc.Write(b)
	return err
}

// outgoing is a transport whose Handshake is that of the client: a transport.Conn then waits for
// data without a buffer, over TLS too.
type outgoing struct {
	transport.Transport
	steps engine.DialSteps
	addr  string
}

func (t outgoing) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	return t.steps.Client(ctx, nc, t.addr)
}

// Unwrap implements transport.Unwrapper, for the send timeout.
func (t outgoing) Unwrap() transport.Transport { return t.Transport }
