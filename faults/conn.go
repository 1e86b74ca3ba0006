package faults

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is an accepted connection with faults. Each direction has a source of its own, so that the
// faults of one connection do not depend on those of others.
type conn struct {
	net.Conn
	t       *Transport
	in, out *Source
	remote  net.Addr
	closed  sync.Once
	writing sync.Mutex
	broken  atomic.Pointer[error] // nil: it is usable
	faulted atomic.Bool
}

func newConn(t *Transport, nc net.Conn, n uint64) *conn {
	c := &conn{Conn: nc, t: t, in: t.src.Derive(2 * n), out: t.src.Derive(2*n + 1), remote: nc.RemoteAddr()}
	if k := t.opts.Sources; k > 0 {
		c.remote = &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(1+c.in.IntN(k))), Port: 1 + int(n%65535)}
	}
	return c
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Faulted reports whether a read or a write has failed because of a fault.
func (c *conn) Faulted() bool { return c.faulted.Load() }

// NetConn returns the connection of the inner transport.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) Read(p []byte) (int, error) {
	r := c.t.rates.Load()
	if len(p) > 0 && c.in.Chance(r.Partial) {
		n := c.in.IntN(min(len(p), 64) + 1)
		if n == 0 {
			return 0, nil // which io.Reader discourages and does not forbid
		}
		p = p[:n]
	}
	if !c.in.Chance(r.Read) {
		n, err := c.Conn.Read(p)
		return n, c.err(err)
	}
	n := 0
	if c.in.Chance(0.3) { // data and an error at once
		var err error
		if n, err = c.Conn.Read(p); err != nil {
			return n, c.err(err)
		}
	}
	return n, c.fault("read", c.in, readErrors)
}

// Write serializes writes, as package net does.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.out.Chance(c.t.rates.Load().Write) {
		n, err := c.Conn.Write(p)
		return n, c.err(err)
	}
	c.faulted.Store(true)
	n := 0
	if c.out.Chance(0.5) { // a part is written
		var err error
		if n, err = c.Conn.Write(p[:c.out.IntN(len(p)+1)]); err != nil {
			return n, c.err(err)
		}
		if n < len(p) && c.out.Chance(0.3) {
			return n, io.ErrShortWrite
		}
		if n < len(p) && c.out.Chance(0.3) {
			return n, nil // which io.Writer forbids
		}
	}
	return n, c.fault("write", c.out, writeErrors)
}

// fault returns an error for a call. Unless it is temporary, the connection is broken from now on,
// and its peer gets a reset.
func (c *conn) fault(op string, src *Source, of []error) error {
	c.faulted.Store(true)
	why := Pick(src, of...)
	err := opError(op, c.t.Name(), c.remote, why)
	if !isTemporary(why) && c.broken.CompareAndSwap(nil, &err) {
		reset(c.Conn)
		c.Conn.Close()
	}
	return err
}

// err replaces the error of a call on a connection that a fault has broken.
func (c *conn) err(err error) error {
	if why := c.broken.Load(); err != nil && why != nil {
		return *why
	}
	return err
}

func (c *conn) Close() error {
	if c.in.Chance(c.t.rates.Load().Close) {
		time.Sleep(c.in.Between(0, 50*time.Millisecond))
	}
	c.closed.Do(func() {
		if c.t.opts.Closed != nil {
			c.t.opts.Closed(c)
		}
	})
	err := c.Conn.Close()
	if c.in.Chance(c.t.rates.Load().Close) {
		if c.in.Chance(0.5) {
			panic("faults: a panic of Close")
		}
		return opError("close", c.t.Name(), c.remote, errUnknown)
	}
	return err
}

// CloseWrite, CloseRead and SetLinger are those of the inner connection, if it has them.
func (c *conn) CloseWrite() error {
	if h, ok := c.Conn.(halfCloser); ok {
		return h.CloseWrite()
	}
	return opError("close", c.t.Name(), c.remote, errUnknown)
}

func (c *conn) CloseRead() error {
	if h, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return h.CloseRead()
	}
	return opError("close", c.t.Name(), c.remote, errUnknown)
}

func (c *conn) SetLinger(sec int) error {
	if l, ok := c.Conn.(lingerer); ok {
		return l.SetLinger(sec)
	}
	return nil
}

type halfCloser interface{ CloseWrite() error }
type lingerer interface{ SetLinger(sec int) error }

// reset makes Close reset the connection.
func reset(nc net.Conn) {
	if l, ok := nc.(lingerer); ok {
		l.SetLinger(0)
	}
}
