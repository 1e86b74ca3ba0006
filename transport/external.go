package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// FromListener makes a transport of a listener that is already open: one of another
// package, inherited, or wrapped for a test. Its Listen returns ln whatever the address,
// once: a listener that was closed, by a suspend for instance, cannot be opened again,
// and the error is errors.ErrUnsupported. Where that is needed, implement [Transport].
//
// Whoever listens owns ln and closes it. Dial connects to ln's address over the network
// that it names.
func FromListener(ln net.Listener) Transport { return &external{ln: ln} }

type external struct {
	ln    net.Listener
	taken atomic.Bool
}

func (e *external) Name() string { return e.ln.Addr().Network() }
func (e *external) Secure() bool { return false }

func (e *external) Listen(ctx context.Context, _ string) (net.Listener, error) {
	if e.taken.Swap(true) {
		return nil, fmt.Errorf("a listener that was handed over open cannot be opened again: %w", errors.ErrUnsupported)
	}
	return e.ln, nil
}

func (e *external) Dial(ctx context.Context, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, e.ln.Addr().Network(), e.ln.Addr().String())
}

func (e *external) Handshake(_ context.Context, nc net.Conn) (net.Conn, error) { return nc, nil }

func (e *external) sendLimit() sendLimit { return TCP{}.sendLimit() }
