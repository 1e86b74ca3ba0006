// Package netlisten provides a net.Listener that returns the connections of a ranch listener.
// Servers that need a net.Listener, such as those of net/http, gRPC and SSH, thereby get the
// connection cap, the transports, the limits and the drain of package ranch.
//
//	srv := &http.Server{Handler: handler}
//	nl := netlisten.New(netlisten.Options{Stop: netlisten.StopHTTP(srv), Refuse: netlisten.RefuseHTTP})
//	go srv.Serve(nl)
//	ranch.StartListener("web", transport.TCP{}, ranch.Options{Addr: ":8080", PostListen: nl.PostListen}, nl)
//	…
//	ranch.Drain(ctx) // requests in progress are answered
//	nl.Shutdown(ctx) // makes Serve return
//
// In the other direction, transport.FromListener makes a transport of a net.Listener.
//
// # TLS
//
// net/http, SMTP servers and others recognize TLS by the type *tls.Conn. Accept returns it over
// transport.TLS, and after the handshake of a sniff.Upgrade: the listener runs the handshake, within
// its time limit, and counts failed ones. net/http serves HTTP/2 if NextProtos of the configuration
// contains "h2". With transport.TCP, a server that runs the handshake itself, as srv.ServeTLS(nl, …)
// does, also works.
//
// Either way the connection is limited as any other, and its counters count encrypted bytes, those
// of the handshake included; so do those of its listener.
//
// A connection cannot be passed on as a *tls.Conn if decrypted data of it was examined by a second
// sniff protocol, or if TLS is that of another package. It then has a method ConnectionState, which
// is enough for Request.TLS, but not for HTTP/2.
//
// # Rejection messages
//
// If the listener refuses a connection, Options.Refuse can send a rejection message: at the cap if
// ranch.Options.RefuseAfter says not to wait, for limits per address, denied networks and
// ranch.Options.Admit, and while the listener drains if the server no longer accepts. Over TLS, the
// message needs a handshake. At the cap, where clients are welcome at other times, it takes place,
// within MaxHandshakes; clients that are refused because of their address are closed without.
//
// A refused connection has no slot. It is closed after a second, whether the client has read the
// message or not. At most 1,024 messages at the cap, and 256 for other reasons, are in progress at
// once; further connections are closed without one.
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

// errRefused is wrapped by the error of a connection that was not accepted, because the Listener
// was closed or the connection was stopped while it waited.
var errRefused = errors.New("the server no longer accepts connections")

var errClosed = fmt.Errorf("accept: %w", net.ErrClosed)

// acceptGrace is the time in which a connection may still be accepted after its listener has begun
// to stop.
const acceptGrace = 500 * time.Millisecond

// Listener is both a net.Listener and a [protocol.Protocol]: Accept returns the connections that
// Serve receives.
//
// A connection keeps its slot until the connection that Accept returned is closed. A connection
// that waits for Accept has a slot too. Each connection costs one blocked goroutine in addition to
// those of the accepting server. Several ranch listeners may serve one Listener. After Close, or
// after one of them has stopped, a new Listener is needed. All methods may be called from any
// goroutine.
type Listener struct {
	opts Options

	// Waiting connections.
	queue     chan offered
	closed    chan struct{}
	closeOnce sync.Once

	// State, under mu.
	mu         sync.Mutex
	addr       net.Addr
	live       int                // connections that wait or are accepted
	cancelStop context.CancelFunc // ends the context of stop; nil until stop is called
	stopped    chan struct{}      // closed when stop has returned; nil until it is called
}

var (
	_ net.Listener     = (*Listener)(nil)
	_ protocol.Drainer = (*Listener)(nil)
	_ protocol.Refuser = (*Listener)(nil)
)

// Options describe the accepting server. The zero value of each field is allowed.
type Options struct {
	// Stop makes the accepting server finish: [StopHTTP], or for example GracefulStop of gRPC. It is
	// called once, in its own goroutine, when a connection is stopped because its listener stops, or
	// by [Listener.Shutdown]. Its ctx is cancelled when no connection is left. The ranch listener
	// waits for Stop to return. Stop is not called for connections that are killed.
	//
	// nil: connections continue until they end by themselves, or are closed at the shutdown limit.
	Stop func(ctx context.Context)

	// Refuse sends the server's rejection message to a connection that is refused: [RefuseHTTP],
	// [RefuseGreeting], [RefuseAnswer] or another function. cause is the reason, a conns.Reason,
	// unless the connection was not accepted because the server is closing. ctx ends after about a
	// second; then the connection is closed, which ends reads and writes in progress. Refuse need
	// not close it. It is called by several goroutines at once. nil: connections are closed without
	// a message.
	Refuse func(ctx context.Context, conn *transport.Conn, cause error)
}

// New returns a Listener.
func New(opts Options) *Listener {
	return &Listener{opts: opts, queue: make(chan offered), closed: make(chan struct{})}
}

// offered is a connection that waits for Accept.
type offered struct {
	conn    *transport.Conn
	release func()
}

// Accept waits for the next connection. [transport.Of] returns its *transport.Conn. The caller has
// to close it. After Close the error is [net.ErrClosed]; there is no other error.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, errClosed
	default:
	}
	select {
	case o := <-l.queue:
		return wrap(o.conn, o.release), nil
	case <-l.closed:
		return nil, errClosed
	}
}

// Close makes Accept return. Waiting and new connections are closed; accepted
// connections stay open. Stop the ranch listener first, so that it accepts no connections that are
// then refused. Calling Close again does nothing. The error is always nil.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

// Shutdown calls Stop of the options unless it has been called, and waits until it has returned or ctx
// ends. Call it when the ranch listener has stopped: without connections Stop was not
// called yet.
func (l *Listener) Shutdown(ctx context.Context) {
	l.mu.Lock()
	stopped := l.callStop(ctx)
	l.mu.Unlock()
	if stopped == nil {
		return
	}
	select {
	case <-stopped:
	case <-ctx.Done():
	}
}

// Addr returns the address of the ranch listener if [Listener.PostListen] is set as its option,
// else a placeholder.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr == nil {
		return unbound{}
	}
	return l.addr
}

// PostListen stores the address of ln for Addr. It is meant for ranch.Options.PostListen, and is
// needed only if the server uses the address.
func (l *Listener) PostListen(ln net.Listener) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr = ln.Addr()
	return nil
}

type unbound struct{}

func (unbound) Network() string { return "goranch" }
func (unbound) String() string  { return "not bound yet" }

// DrainsItself implements [protocol.Drainer].
func (l *Listener) DrainsItself() {}

// Serve passes conn to Accept and returns when it was closed. The error is nil, or says
// why conn was not accepted.
func (l *Listener) Serve(ctx context.Context, conn *transport.Conn) error {
	done := make(chan struct{})
	release := sync.OnceFunc(func() {
		l.remove()
		close(done)
	})
	l.add()
	defer release() // also if Refuse panics
	stopped, err := l.offer(ctx, offered{conn, release})
	if err != nil {
		l.turnAway(ctx, conn, err)
		release()
	}
	select {
	case <-done:
	case <-ctx.Done():
		if s := l.startStop(ctx); s != nil {
			stopped = s
		}
		<-done
	}
	if stopped != nil {
		<-stopped // stop must not outlive the ranch listener
	}
	return err
}

// offer waits until Accept takes o. If it called Stop, it returns a channel that is
// closed when that has returned.
func (l *Listener) offer(ctx context.Context, o offered) (stopped <-chan struct{}, err error) {
	select {
	case <-l.closed:
		return nil, refused(ctx)
	default:
	}
	select {
	case l.queue <- o:
		return nil, nil
	case <-l.closed:
		return nil, refused(ctx)
	case <-ctx.Done():
	}
	if !isShutdown(ctx) { // the connection was killed
		return nil, refused(ctx)
	}
	stopped = l.startStop(ctx)
	grace := time.NewTimer(acceptGrace)
	defer grace.Stop()
	select {
	case l.queue <- o:
		return stopped, nil
	case <-l.closed:
	case <-grace.C:
	}
	return stopped, refused(ctx)
}

func isShutdown(ctx context.Context) bool { return errors.Is(context.Cause(ctx), protocol.ErrShutdown) }

func refused(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errRefused, context.Cause(ctx))
	}
	return errRefused
}

func (l *Listener) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live++
}

func (l *Listener) remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live--; l.live == 0 && l.cancelStop != nil {
		l.cancelStop()
	}
}

// startStop calls Stop if ctx, that of a connection, was cancelled because the ranch
// listener stops, and it was not called before. The channel is closed when the function has
// returned.
func (l *Listener) startStop(ctx context.Context) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancelStop != nil || !isShutdown(ctx) {
		return nil
	}
	return l.callStop(ctx)
}

// callStop calls Stop unless it has been called. The channel is closed when it has
// returned; nil: there is no Stop. l.mu is held.
func (l *Listener) callStop(ctx context.Context) <-chan struct{} {
	if l.opts.Stop == nil || l.stopped != nil {
		return l.stopped
	}
	stopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancelStop = cancel
	if l.live == 0 {
		cancel()
	}
	l.stopped = make(chan struct{})
	go func() {
		defer close(l.stopped)
		l.opts.Stop(stopCtx)
	}()
	return l.stopped
}
