package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// FromListener returns a transport for an existing listener. Its Listen ignores the address and
// returns ln, once: later calls, for instance when a suspended listener is resumed, return
// errors.ErrUnsupported. Implement [Transport] where that is not enough.
//
// The caller of Listen owns ln and closes it. Dial connects to the address of ln, on its network.
func FromListener(ln net.Listener) Transport { return &listenerTransport{ln: ln} }

type listenerTransport struct {
	ln       net.Listener
	listened atomic.Bool
}

func (t *listenerTransport) Name() string { return t.ln.Addr().Network() }
func (t *listenerTransport) Secure() bool { return false }

func (t *listenerTransport) Listen(ctx context.Context, _ string) (net.Listener, error) {
	if t.listened.Swap(true) {
		return nil, fmt.Errorf("a listener given to FromListener cannot be opened again: %w", errors.ErrUnsupported)
	}
	return t.ln, nil
}

func (t *listenerTransport) Dial(ctx context.Context, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, t.ln.Addr().Network(), t.ln.Addr().String())
}

func (t *listenerTransport) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) {
	return nc, nil
}

func (t *listenerTransport) sendLimit() sendLimit { return TCP{}.sendLimit() }
