package transport

import (
	"context"
	"crypto/tls"
	"net"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/internal/listenaddr"
	"goranch/internal/throttle"
)

// engineConn is a Conn with the methods of [engine.Conn], which only this module uses.
type engineConn Conn

func (c *engineConn) conn() *Conn { return (*Conn)(c) }

func (c *engineConn) Conn() net.Conn                  { return c.conn() }
func (c *engineConn) Owner() any                      { return c.owner }
func (c *engineConn) CanTryWrite() bool               { return c.conn().canTryWrite() }
func (c *engineConn) Unflushed() bool                 { return c.conn().unflushed() }
func (c *engineConn) Progress() uint64                { return c.conn().progress() }
func (c *engineConn) LimitRates(l *throttle.Limits)   { c.conn().limitRates(l) }
func (c *engineConn) Throttled() (uint32, bool, bool) { return c.conn().throttled() }
func (c *engineConn) Encrypted() bool                 { return c.raw.tlsState() != nil }
func (c *engineConn) Receiving() uint32               { return c.receiving.Load() }
func (c *engineConn) RestoreReceiving(n uint32)       { c.receiving.Store(n) }
func (c *engineConn) Flush() error                    { return c.conn().flush() }
func (c *engineConn) Seal() (read, written uint64)    { return c.conn().seal() }
func (c *engineConn) Bytes() (uint64, uint64, bool)   { return c.conn().bytes() }
func (c *engineConn) HasTLS() bool                    { return c.raw.tlsState() != nil }
func (c *engineConn) TLSConn(onEnd func()) *tls.Conn  { return c.conn().tlsConn(onEnd) }

func (c *Conn) progress() uint64 {
	if m, ok := c.raw.Conn.(*memConn); ok {
		return m.out().taken.Load()
	}
	return c.raw.progress.Load() + c.writeBytes.Load()&^sealed
}

func (c *engineConn) RequestPark() bool {
	if _, reads, _ := c.conn().throttled(); reads {
		return false // it is not idle
	}
	_, inMemory := c.raw.Conn.(*memConn)
	return (inMemory || c.raw.sys != nil) && c.raw.reads.RequestPark(c.raw.Conn)
}

func (c *engineConn) PooledReader(inline *idle.InlinePolicy) engine.PooledReader {
	return c.conn().pooledReader(inline)
}

// isPlain reports whether the connection is a socket whose payload this package reads itself,
// without a limit of bytes per second.
func (c *engineConn) isPlain() bool {
	return c.raw.sys != nil && c.conn().top() == nil && c.raw.limited() == nil
}

func (c *engineConn) CanPark() bool {
	return c.isPlain() && !c.conn().isAhead() && c.raw.reads.CanPark()
}

func (c *engineConn) TryNext(l *idle.Lead, max int) ([]byte, bool, error) {
	if !c.isPlain() || c.conn().isAhead() {
		return nil, false, idle.ErrNeedsGoroutine
	}
	return c.conn().tryNext(l, max)
}

func (c *engineConn) Park(w idle.Waker, inline *idle.InlinePolicy) bool {
	if c.conn().isAhead() {
		return false
	}
	if !c.isPlain() {
		inline = nil
	}
	if m, ok := c.raw.Conn.(*memConn); ok {
		return c.raw.reads.ParkInMemory(m.NotifyReadable, w)
	}
	return c.raw.sys != nil && c.raw.reads.Park(c.raw.sys, w, inline)
}

func (c *engineConn) UpgradePeeked(ctx context.Context, t any) error {
	return c.conn().upgrade(ctx, t.(Transport))
}

func (c *engineConn) SetTracer(f any) {
	t, _ := f.(tracer)
	if t == nil {
		if c.raw.traced() != nil {
			c.raw.needExtras().tracer.Store(nil)
		}
		return
	}
	c.raw.needExtras().tracer.Store(&t)
}

func init() {
	engine.Init = func(conn net.Conn, t any, nc net.Conn, owner any) {
		conn.(*Conn).init(t.(Transport), nc, owner)
	}
	engine.Of = func(conn net.Conn) engine.Conn { return (*engineConn)(conn.(*Conn)) }
	engine.Plain = plain
	engine.StepsOf = stepsOf
	engine.Rebind = rebind
	engine.Probe = probe
	engine.KeepSocketFile = keepSocketFile
}

// probe listens with a socket that shares its port with none, and closes it.
func probe(ctx context.Context, t any, addr string) (string, error) {
	var tcp TCP
	switch t := t.(type) {
	case TCP:
		tcp = t
	case *TCP:
		tcp = *t
	case TLS:
		tcp = t.TCP
	case *TLS:
		tcp = t.TCP
	case Unwrapper:
		if a, ok := t.(engine.Adopter); ok {
			if bound, ok := a.Adopted(addr); ok {
				return bound, nil
			}
		}
		return probe(ctx, t.Unwrap(), addr)
	default:
		return addr, nil
	}
	if a, err := listenaddr.Parse(addr); err != nil || a.Network != "tcp" {
		return addr, nil // Listen returns the error
	}
	tcp.Control = nil // it is for the sockets of the listener
	ln, err := tcp.Listen(ctx, addr)
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return rebind(addr, ln.Addr()), nil
}

// adopterOf returns the transport that t wraps, if t is an engine.Adopter: it differs from that
// only in its Listen.
func adopterOf(t any) (Transport, bool) {
	if _, ok := t.(engine.Adopter); ok {
		if u, ok := t.(Unwrapper); ok {
			return u.Unwrap(), true
		}
	}
	return nil, false
}

func plain(t any) bool {
	switch t.(type) {
	case TCP, *TCP, *Mem, *listenerTransport:
		return true
	}
	inner, ok := adopterOf(t)
	return ok && plain(inner)
}

func stepsOf(t any) (engine.DialSteps, bool) {
	switch t := t.(type) {
	case TLS:
		return engine.DialSteps{Connect: t.TCP.Dial, Client: t.client}, true
	case *TLS:
		return engine.DialSteps{Connect: t.TCP.Dial, Client: t.client}, true
	}
	if inner, ok := adopterOf(t); ok {
		return stepsOf(inner)
	}
	return engine.DialSteps{}, false
}
