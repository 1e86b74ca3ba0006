// Package netlisten makes a net.Listener of a listener of goranch, so that servers which
// know only that one, those of net/http, gRPC and SSH among them, run unchanged behind
// its cap, its transports, its limits and its drain.
//
//	srv := &http.Server{Handler: handler}
//	nl := netlisten.New(netlisten.StopHTTP(srv))
//	go srv.Serve(nl)
//	ranch.StartListener("web", transport.TCP{}, ranch.Options{Addr: ":8080", PostListen: nl.PostListen}, nl)
//	…
//	ranch.Drain(ctx)  // requests in progress are answered
//	srv.Shutdown(ctx) // nobody is left; it makes Serve return
//
// The other way round, transport.FromListener makes a transport of any net.Listener.
//
// # TLS
//
// net/http speaks HTTP/2 only on a connection whose type is *tls.Conn. There are two ways:
//
//   - transport.TCP and srv.ServeTLS(nl, …): the handshake is net/http's. Everything works
//     as without goranch; the counters of the connection count what is encrypted.
//   - transport.TLS and srv.Serve(nl): the handshake is goranch's, under its limit and counted
//     by its reasons. Clients that agreed upon "h2" (in NextProtos of the configuration)
//     are accepted as the *tls.Conn itself, whose traffic is not counted; others as a
//     [Conn] that says its TLS state, so that Request.TLS is set.
package netlisten

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

var (
	// ErrRefused is wrapped by how a connection ended that nobody accepted any more: the
	// net.Listener was closed, or the connection was told to end meanwhile.
	ErrRefused = errors.New("nobody accepts connections any more")

	// ErrClosed is what Accept returns after Close. It is [net.ErrClosed] to errors.Is.
	ErrClosed = fmt.Errorf("accept on a listener behind goranch: %w", net.ErrClosed)
)

// refuseAfter is how long a connection that is told to end waits for Accept.
const refuseAfter = 500 * time.Millisecond

// Listener is a [protocol.Protocol] that hands its connections to whoever calls Accept.
//
// A connection takes its slot of the cap until whoever accepted it has closed it. One
// that nobody accepts waits, with its slot. Each costs a parked goroutine besides those
// of the server that accepts. All methods may be called from any goroutine.
// A Listener may be served by several listeners of goranch at once; after Close, or after
// one of them was stopped, a new one is needed.
type Listener struct {
	stop      func(context.Context)
	queue     chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once

	mu   sync.Mutex
	addr net.Addr
	live int                // connections in hand or accepted
	over context.CancelFunc // ends the hook's context; nil before the stop
}

var (
	_ net.Listener     = (*Listener)(nil)
	_ protocol.Drainer = (*Listener)(nil)
)

// New returns a Listener.
//
// stop is called once, in a goroutine of its own, when the first connection is told to end
// because its listener is being stopped. It tells the server that accepts to finish: [StopHTTP],
// or for example the GracefulStop of gRPC. Its ctx ends when no connection is left; the
// listener waits for it to return. It is not called if there is no connection then, nor
// when connections are closed at once (BrutalKill), nor when one of them is killed.
//
// With nil nobody tells the server: its connections go on until they end by
// themselves, or are closed at the shutdown limit.
func New(stop func(ctx context.Context)) *Listener {
	return &Listener{stop: stop, queue: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection: a *[Conn], one with a method ConnectionState if
// it has TLS, or a *tls.Conn. Whoever accepts it has to close it. [transport.Of] returns
// the connection below. The only error is [ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, ErrClosed
	default:
	}
	select {
	case nc := <-l.queue:
		return nc, nil
	case <-l.closed:
		return nil, ErrClosed
	}
}

// Close ends Accept. Connections that wait for it, and those that come later, are closed
// and end with [ErrRefused]; those accepted live on. Stop the listener of goranch first,
// so that clients are not accepted only to be refused. Calling it again does nothing, and
// the error is always nil.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

// Addr returns where the connections come in. It is known from [Listener.PostListen]; a
// placeholder before.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr == nil {
		return unbound{}
	}
	return l.addr
}

// PostListen notes the address of ln, for Addr. It fits the option of that name; it is
// needed only by servers that ask for the address.
func (l *Listener) PostListen(ln net.Listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr = ln.Addr()
	return nil
}

type unbound struct{}

func (unbound) Network() string { return "goranch" }
func (unbound) String() string  { return "not bound yet" }

// DrainsItself makes it a [protocol.Drainer].
func (l *Listener) DrainsItself() {}

// Serve hands conn to Accept, and returns when it was closed. The error is nil, however the
// connection was used; or it wraps [ErrRefused].
func (l *Listener) Serve(ctx context.Context, conn *transport.Conn) error {
	done := make(chan struct{})
	left := sync.OnceFunc(func() {
		l.leave()
		close(done)
	})
	l.enter()
	hook, err := l.hand(ctx, wrap(conn, left))
	if err != nil {
		left()
	}
	select {
	case <-done:
	case <-ctx.Done():
		if h := l.told(ctx); h != nil {
			hook = h
		}
		<-done
	}
	if hook != nil {
		<-hook // else its goroutine would outlive the listener
	}
	return err
}

// hand waits for Accept. hook is not nil if it had to tell the server to stop.
func (l *Listener) hand(ctx context.Context, nc net.Conn) (hook <-chan struct{}, err error) {
	select {
	case <-l.closed:
		return nil, refused(ctx)
	default:
	}
	select {
	case l.queue <- nc:
		return nil, nil
	case <-l.closed:
		return nil, refused(ctx)
	case <-ctx.Done():
	}
	if !stopping(ctx) { // it was killed
		return nil, refused(ctx)
	}
	hook = l.told(ctx)
	limit := time.NewTimer(refuseAfter)
	defer limit.Stop()
	select {
	case l.queue <- nc:
		return hook, nil
	case <-l.closed:
	case <-limit.C:
	}
	return hook, refused(ctx)
}

func stopping(ctx context.Context) bool { return errors.Is(context.Cause(ctx), protocol.ErrShutdown) }

func refused(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrRefused, context.Cause(ctx))
	}
	return ErrRefused
}

func (l *Listener) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live++
}

func (l *Listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live--; l.live == 0 && l.over != nil {
		l.over()
	}
}

// told is called when ctx, that of a connection, has ended. The first time that it is because
// the listener is being stopped, it starts the hook and returns what is closed when that
// has returned.
func (l *Listener) told(ctx context.Context) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == nil || l.over != nil || !stopping(ctx) {
		return nil
	}
	hookCtx, over := context.WithCancel(context.WithoutCancel(ctx))
	l.over = over
	if l.live == 0 {
		over()
	}
	returned := make(chan struct{})
	go l.runHook(hookCtx, returned)
	return returned
}

func (l *Listener) runHook(ctx context.Context, returned chan<- struct{}) {
	defer close(returned)
	l.stop(ctx)
}
