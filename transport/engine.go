package transport

import (
	"context"
	"crypto/tls"
	"net"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// engineConn is a Conn with the methods that only this module uses; see [engine.Conn].
type engineConn Conn

func (c *engineConn) conn() *Conn { return (*Conn)(c) }

func (c *engineConn) Owner() any                        { return c.owner }
func (c *engineConn) PooledReader() engine.PooledReader { return c.conn().pooledReader() }
func (c *engineConn) CanTryWrite() bool                 { return c.conn().canTryWrite() }
func (c *engineConn) Unflushed() bool                   { return c.conn().unflushed() }
func (c *engineConn) Flush() error                      { return c.conn().flush() }
func (c *engineConn) TLSConn(closed func()) *tls.Conn   { return c.conn().tlsConn(closed) }

func (c *engineConn) RequestPark() bool {
	return c.raw.sys != nil && c.raw.reads.RequestPark(c.raw.Conn)
}

func (c *engineConn) Park(w idle.Waker) bool {
	return c.raw.sys != nil && !c.conn().isAhead() && c.raw.reads.Park(c.raw.sys, w)
}

func (c *engineConn) UpgradePeeked(ctx context.Context, t any) error {
	return c.conn().upgrade(ctx, t.(Transport))
}

func (c *engineConn) SetTracer(f any) {
	t, _ := f.(Tracer)
	if t == nil {
		c.tracer.Store(nil)
		return
	}
	c.tracer.Store(&t)
}

func init() {
	engine.Init = func(conn net.Conn, t any, nc net.Conn, owner any) {
		conn.(*Conn).init(t.(Transport), nc, owner)
	}
	engine.Of = func(conn net.Conn) engine.Conn { return (*engineConn)(conn.(*Conn)) }
	engine.Plain = plain
	engine.DialSteps = dialSteps
	engine.Rebind = rebind
}

// plain reports whether the Handshake of t is known to return at once.
func plain(t any) bool {
	switch t.(type) {
	case TCP, *TCP, *Mem, *external:
		return true
	}
	return false
}

func dialSteps(t any) (engine.DialStep, bool) {
	switch t := t.(type) {
	case TLS:
		return engine.DialStep{Connect: t.TCP.Dial, Client: t.client}, true
	case *TLS:
		return engine.DialStep{Connect: t.TCP.Dial, Client: t.client}, true
	}
	return engine.DialStep{}, false
}
