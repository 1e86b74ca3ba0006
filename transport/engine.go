package transport

import (
	"context"
	"crypto/tls"
	"net"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// engineConn is a Conn with the methods of [engine.Conn], which only this module uses.
type engineConn Conn

func (c *engineConn) conn() *Conn { return (*Conn)(c) }

func (c *engineConn) Owner() any                        { return c.owner }
func (c *engineConn) PooledReader() engine.PooledReader { return c.conn().pooledReader() }
func (c *engineConn) CanTryWrite() bool                 { return c.conn().canTryWrite() }
func (c *engineConn) Unflushed() bool                   { return c.conn().unflushed() }
func (c *engineConn) Flush() error                      { return c.conn().flush() }
func (c *engineConn) TLSConn(onEnd func()) *tls.Conn    { return c.conn().tlsConn(onEnd) }

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
	t, _ := f.(tracer)
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
	engine.StepsOf = stepsOf
	engine.Rebind = rebind
}

func plain(t any) bool {
	switch t.(type) {
	case TCP, *TCP, *Mem, *listenerTransport:
		return true
	}
	return false
}

func stepsOf(t any) (engine.DialSteps, bool) {
	switch t := t.(type) {
	case TLS:
		return engine.DialSteps{Connect: t.TCP.Dial, Client: t.client}, true
	case *TLS:
		return engine.DialSteps{Connect: t.TCP.Dial, Client: t.client}, true
	}
	return engine.DialSteps{}, false
}
