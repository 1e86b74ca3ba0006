package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goranch/transport"
)

// Rates are the probabilities of faults, from 0 to 1. The zero value is no faults.
type Rates struct {
	// Accept is the probability that a call of Accept fails. Some failures close the socket, as
	// other code of the program might, some are panics, and some lose a connection.
	Accept float64
	// Listen is the probability that a call of Listen fails.
	Listen float64
	// Handshake is the probability that a handshake fails: by an error, by a panic, or because it
	// does not end before its context.
	Handshake float64
	// Read and Write are the probabilities that a call on an accepted connection fails.
	Read, Write float64
	// Partial is the probability that a read returns a part of what it could, or nothing.
	Partial float64
	// Close is the probability that closing a connection takes up to 50 ms, and that it returns an
	// error, or panics.
	Close float64
}

// Transport is a [transport.Transport] with faults. Its methods may be called from any goroutine.
//
// Several sockets of a listener ([transport.PortSharer]) are supported for transports whose
// addresses are names, such as a [transport.Mem].
type Transport struct {
	inner transport.Transport
	opts  Options
	src   *Source
	rates atomic.Pointer[Rates]

	mu     sync.Mutex
	open   map[*listener]bool
	shared uint64 // sockets opened by ListenShared

	accepted, failed atomic.Uint64
}

// Options change what a [Transport] returns. The zero value of each field is its default.
type Options struct {
	// Bare returns connections of the inner transport as they are, without faults of reads, writes
	// and Close. Package transport does some things for connections that it knows only, such as
	// parking.
	Bare bool
	// NoDeadline hides the SetDeadline of listeners, which some do not have.
	NoDeadline bool
	// Sources is the number of IP addresses from which accepted connections seem to come. 0 leaves
	// the addresses of the inner transport, which Bare connections have, too.
	Sources int
	// Accepted and Closed, if set, are called with each connection that Accept returns, and before
	// its first Close. Closed is not called for Bare ones.
	Accepted, Closed func(net.Conn)
}

// NewTransport returns a transport that wraps inner, without faults until [Transport.Set].
func NewTransport(inner transport.Transport, src *Source, opts Options) *Transport {
	t := &Transport{inner: inner, opts: opts, src: src, open: make(map[*listener]bool)}
	t.Set(Rates{})
	return t
}

// Set changes the probabilities, also for open sockets and connections.
func (t *Transport) Set(r Rates) { t.rates.Store(&r) }

// Accepted returns how many connections Accept has returned, and Failed how many calls of it failed
// because of a fault.
func (t *Transport) Accepted() uint64 { return t.accepted.Load() }
func (t *Transport) Failed() uint64   { return t.failed.Load() }

// CloseSockets closes the open listening sockets, as other code of the program might by mistake,
// and returns how many.
func (t *Transport) CloseSockets() int {
	t.mu.Lock()
	all := make([]*listener, 0, len(t.open))
	for l := range t.open {
		all = append(all, l)
	}
	t.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
	return len(all)
}

// Name returns the name of the inner transport.
func (t *Transport) Name() string { return t.inner.Name() }

// Secure reports whether the inner transport is secure.
func (t *Transport) Secure() bool { return t.inner.Secure() }

// Listen opens a socket of the inner transport.
func (t *Transport) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return t.listen(ctx, addr, nil)
}

// ListenShared opens one of several sockets on the address, which must be a name.
func (t *Transport) ListenShared(ctx context.Context, addr string) (net.Listener, error) {
	t.mu.Lock()
	t.shared++
	n := t.shared
	t.mu.Unlock()
	return t.listen(ctx, fmt.Sprintf("%s#%d", addr, n), name(addr))
}

func (t *Transport) listen(ctx context.Context, addr string, shown net.Addr) (net.Listener, error) {
	if t.src.Chance(t.rates.Load().Listen) {
		return nil, opError("listen", t.Name(), name(addr), Pick(t.src, acceptErrors...))
	}
	ln, err := t.inner.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	if shown == nil {
		shown = ln.Addr()
	}
	l := &listener{Listener: ln, t: t, addr: shown}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[l] = true
	if _, ok := ln.(deadliner); ok && !t.opts.NoDeadline {
		return deadlineListener{l}, nil
	}
	return l, nil
}

// Dial connects to a listener of the inner transport; to one of its sockets if there are several.
func (t *Transport) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var sockets []string
	t.mu.Lock()
	for l := range t.open {
		if l.addr.String() == addr {
			sockets = append(sockets, l.Listener.Addr().String())
		}
	}
	t.mu.Unlock()
	if len(sockets) > 0 {
		addr = Pick(t.src, sockets...)
	}
	return t.inner.Dial(ctx, addr)
}

// Handshake runs the handshake of the inner transport, unless it fails.
func (t *Transport) Handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if t.src.Chance(t.rates.Load().Handshake) {
		switch t.src.IntN(6) {
		case 0:
			panic("faults: a panic of Handshake")
		case 1:
			return nil, nil
		case 2:
			<-ctx.Done()
			return nil, context.Cause(ctx)
		case 3:
			time.Sleep(t.src.Between(0, 500*time.Millisecond)) // ignores ctx
		default:
			return nil, opError("read", t.Name(), nil, Pick(t.src, readErrors...))
		}
	}
	return t.inner.Handshake(ctx, nc)
}

// name is an address.
type name string

func (name) Network() string  { return "faults" }
func (n name) String() string { return string(n) }

type deadliner interface{ SetDeadline(time.Time) error }

// deadlineListener is a listener whose accept can be interrupted.
type deadlineListener struct{ *listener }

func (l deadlineListener) SetDeadline(t time.Time) error {
	return l.Listener.(deadliner).SetDeadline(t)
}

// listener is a listening socket with faults.
type listener struct {
	net.Listener
	t    *Transport
	addr net.Addr
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.t.mu.Lock()
	delete(l.t.open, l)
	l.t.mu.Unlock()
	return l.Listener.Close()
}

func (l *listener) Accept() (net.Conn, error) {
	t := l.t
	lose := false
	if t.src.Chance(t.rates.Load().Accept) {
		if lose = t.src.Chance(0.1); !lose {
			t.failed.Add(1)
			return nil, l.fail()
		}
	}
	nc, err := l.Listener.Accept()
	switch {
	case err != nil:
		return nil, err
	case lose && t.rates.Load().Accept > 0: // the client is gone before accept returns
		t.failed.Add(1)
		reset(nc)
		nc.Close()
		return nil, opError("accept", t.Name(), l.addr, syscall.ECONNABORTED)
	}
	n := t.accepted.Add(1)
	if !t.opts.Bare {
		nc = newConn(t, nc, n)
	}
	if t.opts.Accepted != nil {
		t.opts.Accepted(nc)
	}
	return nc, nil
}

// fail returns the error of a call of Accept, or panics.
func (l *listener) fail() error {
	src := l.t.src
	if src.Chance(0.05) {
		panic("faults: a panic of Accept")
	}
	err := Pick(src, acceptErrors...)
	if errors.Is(err, net.ErrClosed) {
		l.Close()
	}
	return opError("accept", l.t.Name(), l.addr, err)
}
