package wslisten

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errBusy        = errors.New("too many connections: try again later")
	errNoListener  = errors.New("the server does not accept connections")
	errNotAdmitted = errors.New("the connection was refused")
)

// listener passes requests for an upgrade to Accept.
type listener struct {
	t    *Transport
	addr addr

	queue   chan *conn
	waiting atomic.Int64 // requests that Accept has not taken
	closed  chan struct{}
	closing sync.Once

	mu       sync.Mutex
	deadline time.Time     // of Accept; zero: none
	changed  chan struct{} // closed and replaced when the deadline changes
}

// addr is the address of a listener, or of a client that has no IP address.
type addr string

func (addr) Network() string  { return "websocket" }
func (a addr) String() string { return string(a) }

func newListener(t *Transport, name string) *listener {
	return &listener{t: t, addr: addr(name), queue: make(chan *conn), closed: make(chan struct{}), changed: make(chan struct{})}
}

// Accept returns the next WebSocket, before the answer to its upgrade. The error wraps
// net.ErrClosed or os.ErrDeadlineExceeded.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		deadline, changed := l.deadline, l.changed
		l.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return nil, l.opError(os.ErrDeadlineExceeded)
			}
			expired = time.After(left)
		}
		select {
		case <-l.closed:
			return nil, l.opError(net.ErrClosed)
		default:
		}
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.closed:
		case <-changed:
		case <-expired:
		}
	}
}

func (l *listener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: err}
}

// SetDeadline makes Accept fail from t on; the zero time means no deadline.
func (l *listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// Close makes Accept return and refuses the requests that wait.
func (l *listener) Close() error {
	l.closing.Do(func() {
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		if l.t.ln == l {
			l.t.ln = nil
		}
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// offer waits until Accept takes c.
func (l *listener) offer(ctx context.Context, c *conn) error {
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > int64(l.t.opts.Backlog) {
		return errBusy
	}
	limit := time.NewTimer(l.t.opts.AcceptTimeout)
	defer limit.Stop()
	select {
	case l.queue <- c:
		return nil
	case <-l.closed:
		return errNoListener
	case <-limit.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
