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
// transport.TLS, and after the handshake of a sniff.Upgrade: the listener runs the handshake,
// within its time limit, and counts failed ones. net/http serves HTTP/2 if NextProtos of the
// configuration contains "h2". With transport.TCP, a server that runs the handshake itself, as
// srv.ServeTLS(nl, …) does, also works.
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
// If the listener refuses a connection, Options.Refuse can send a rejection message: at the cap
// after ranch.Options.RefuseAfter, for limits per address, denied networks and
// ranch.Options.Admit, and while the listener drains if the server no longer accepts. Over TLS, the
// message needs a handshake. At the cap the handshake takes place, within MaxHandshakes; clients
// that are refused because of their address are closed without one.
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

	"goranch/internal/engine"
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

// Listener is both a net.Listener and a [protocol.Protocol]: Accept returns the connections of the
// ranch listeners that it serves.
//
// A connection keeps its slot until the connection that Accept returned is closed. A connection
// that waits for Accept has a slot too. Neither costs a goroutine, unless another protocol calls
// Serve. Several ranch listeners may serve one Listener. After Close, or after one of them has
// stopped, a new Listener is needed. All methods may be called from any goroutine.
type Listener struct {
	opts Options

	mu         sync.Mutex
	arrived    sync.Cond // a connection waits, or the Listener is closed
	waiting    waiting
	closed     bool
	addr       net.Addr
	live       int                // connections that wait or are accepted
	cancelStop context.CancelFunc // ends the context of Stop; nil until that is called
	stopped    chan struct{}      // closed when Stop has returned; nil until it is called
}

var (
	_ net.Listener            = (*Listener)(nil)
	_ protocol.Drainer        = (*Listener)(nil)
	_ protocol.Refuser        = (*Listener)(nil)
	_ engine.HandoverProtocol = (*Listener)(nil)
)

// Options describe the accepting server. The zero value of each field is allowed.
type Options struct {
	// Stop makes the accepting server finish: [StopHTTP], or for example GracefulStop of gRPC. It
	// is called once, in its own goroutine, when a connection is stopped because its listener
	// stops, or by [Listener.Shutdown]. Its ctx is cancelled when no connection is left. The ranch
	// listener waits for Stop to return. Stop is not called for connections that are killed.
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
	l := &Listener{opts: opts}
	l.arrived.L = &l.mu
	return l
}

// Accept waits for the next connection. [transport.Of] returns its *transport.Conn. The caller has
// to close it. After Close the error is [net.ErrClosed]; there is no other error.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	for l.waiting.first == nil && !l.closed {
		l.arrived.Wait()
	}
	if l.closed {
		l.mu.Unlock()
		return nil, errClosed
	}
	c := l.waiting.first
	l.waiting.remove(c)
	l.mu.Unlock()
	return c.accepted(), nil
}

// Close makes Accept return. Waiting and new connections are closed; accepted connections stay
// open. Stop the ranch listener first, so that it accepts no connections that are then refused.
// Calling Close again does nothing. The error is always nil.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	for c := l.waiting.first; c != nil; c = l.waiting.first {
		c.refuse()
	}
	l.mu.Unlock()
	l.arrived.Broadcast()
	return nil
}

// Shutdown calls Stop of the options unless it has been called, and waits until it has returned or
// ctx ends. Call it when the ranch listener has stopped: without connections, Stop was not called.
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

// Serve passes conn to Accept and returns when it was closed. The error is nil, or says why conn
// was not accepted. A ranch listener calls HandOver instead.
func (l *Listener) Serve(ctx context.Context, conn *transport.Conn) error {
	back := make(handedBack)
	c := l.handOver(ctx, conn, back)
	if err := c.Run(false); err != engine.ErrHandedOver {
		return err
	}
	select {
	case <-back:
	case <-ctx.Done():
		c.Stop()
		<-back
	}
	return c.Run(false)
}

// handedBack is closed when a connection was handed back to Serve.
type handedBack chan struct{}

func (h handedBack) HandBack() { close(h) }

// HandOver is Serve without a goroutine. It implements an interface within this module.
func (l *Listener) HandOver(ctx context.Context, p any, nc net.Conn, owner engine.HandoverOwner) engine.Handover {
	if own, ok := p.(*Listener); !ok || own != l {
		return nil
	}
	return l.handOver(ctx, nc.(*transport.Conn), owner)
}

func (l *Listener) handOver(ctx context.Context, nc *transport.Conn, owner engine.HandoverOwner) handover {
	return handover{&conn{Conn: nc, l: l, ctx: ctx, owner: owner}}
}

func isShutdown(ctx context.Context) bool { return errors.Is(context.Cause(ctx), protocol.ErrShutdown) }

func refused(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errRefused, context.Cause(ctx))
	}
	return errRefused
}

// connEnded counts the end of a connection. l.mu is held.
func (l *Listener) connEnded() {
	if l.live--; l.live == 0 && l.cancelStop != nil {
		l.cancelStop()
	}
}

// callStop calls Stop unless it has been called. The channel is closed when Stop has returned; it
// is nil if there is no Stop. l.mu is held.
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
