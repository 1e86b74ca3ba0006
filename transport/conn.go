package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection as protocols hold it: a net.Conn that knows its id, its
// transport, its peer, its TLS state and how much it has carried.
//
// It is owned by the goroutine that runs the protocol. Like any net.Conn it may be
// written to, closed and given deadlines by others meanwhile. Reads are one at a time:
// Read, WriteTo and another connection's ReadFrom must not run at once.
//
// A write that the peer does not take within the transport's send timeout fails with
// [ErrSendTimeout]. A Conn holds no buffer of its own while it is idle.
type Conn struct {
	// What each read and write touches comes first, in as few cache lines as it can.
	reads, writes         atomic.Uint64
	readBytes, writeBytes atomic.Uint64
	tracer                atomic.Pointer[Tracer] // nil: not traced

	top net.Conn // what the payload goes through: &c.raw, or TLS above it
	raw rawConn

	records sync.Mutex // held by a write through TLS, so that none is taken for TryWrite's

	ahead  *ahead // of what came through TLS; of plain payload it is the raw connection's
	secure atomic.Pointer[secure]
	id     uint64
	t      Transport
	owner  any
	closed atomic.Bool
}

var lastID atomic.Uint64

// NewConn wraps nc, a connection accepted on a listener of t. Nothing is read or
// written; Handshake must be called before the payload. The Conn owns nc from here on.
func NewConn(t Transport, nc net.Conn) *Conn {
	c := new(Conn)
	c.init(t, nc, nil)
	return c
}

func (c *Conn) init(t Transport, nc net.Conn, owner any) {
	c.id, c.t, c.owner = lastID.Add(1), t, owner
	c.raw.Conn = nc
	c.raw.sys = sysConn(nc)
	c.raw.send = sendLimitOf(t)
	c.top = &c.raw
}

// Handshake prepares the connection as its transport asks: nothing for TCP, the
// server's handshake for TLS. On error the connection can only be closed.
func (c *Conn) Handshake(ctx context.Context) error { return c.prepare(ctx, c.t) }

func (c *Conn) prepare(ctx context.Context, t Transport) error {
	top, err := t.Handshake(ctx, &c.raw)
	if err != nil {
		return c.raw.readError(err)
	}
	if top == nil {
		return fmt.Errorf("the handshake of transport %s returned neither a connection nor an error", t.Name())
	}
	if s, ok := top.(stater); ok {
		c.secure.Store(&secure{s})
	}
	c.top = top
	return nil
}

// stater is what connections with TLS can tell of it.
type stater interface{ ConnectionState() tls.ConnectionState }

// secure makes a stater readable while the connection is being upgraded.
type secure struct{ stater }

// ID is unique among the connections of this process, and never 0.
func (c *Conn) ID() uint64 { return c.id }

// Transport returns the transport the connection was accepted on.
func (c *Conn) Transport() Transport { return c.t }

// NetConn returns the connection as accepted. Reading or writing it directly bypasses
// TLS, counters and the send timeout.
func (c *Conn) NetConn() net.Conn { return c.raw.Conn }

// TLS returns the state of the connection's TLS, and whether there is any. It may be
// called from any goroutine.
func (c *Conn) TLS() (tls.ConnectionState, bool) {
	if s := c.secure.Load(); s != nil {
		return s.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// Stats counts what a connection has carried: payload, so with TLS less than what
// was on the wire.
type Stats struct {
	Reads, Writes           uint64 // calls that carried something or failed
	BytesRead, BytesWritten uint64
}

// Stats returns the counters so far. Each is exact; they are not read at one instant.
func (c *Conn) Stats() Stats {
	return Stats{
		Reads: c.reads.Load(), Writes: c.writes.Load(),
		BytesRead: c.readBytes.Load(), BytesWritten: c.writeBytes.Load(),
	}
}

// Read reads what has arrived. After [Conn.StopReading] its error wraps the cause.
func (c *Conn) Read(p []byte) (int, error) {
	var n int
	var err error
	switch {
	case c.top == &c.raw && c.raw.ahead == nil:
		n, err = c.raw.Conn.Read(p)
	case c.ahead != nil:
		n = take(&c.ahead, p)
	default:
		n, err = c.top.Read(p)
	}
	c.countRead(n, p, err)
	if err != nil {
		err = c.raw.readError(err)
	}
	return n, err
}

// Write writes all of p, or says why not. Concurrent writes do not mix.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.top == &c.raw {
		n, err = c.raw.Write(p)
	} else {
		n, err = c.writeRecords(p)
	}
	c.countWrite(n, p, err)
	return n, err
}

func (c *Conn) writeRecords(p []byte) (int, error) {
	c.records.Lock()
	defer c.records.Unlock()
	return c.top.Write(p)
}

// countRead counts n bytes read to the beginning of p, which is nil if they did not come
// our way, and tells whoever traces the connection.
func (c *Conn) countRead(n int, p []byte, err error) {
	c.reads.Add(1)
	c.readBytes.Add(uint64(n))
	if c.tracer.Load() != nil {
		c.trace(TraceRead, n, p, err)
	}
}

func (c *Conn) countWrite(n int, p []byte, err error) {
	c.writes.Add(1)
	c.writeBytes.Add(uint64(n))
	if c.tracer.Load() != nil {
		c.trace(TraceWrite, n, p, err)
	}
}

// Close ends the connection in order: TLS says goodbye, TCP sends what is still
// queued. Calling it again does nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.raw.reads.Close()
	if c.raw.reads.Stopped() != nil && c.discard() {
		c.linger()
	}
	return c.top.Close()
}

// lingerTime is what net/http grants in the same case.
const lingerTime = 500 * time.Millisecond

// linger ends a connection on which the peer was still sending. What arrives unread, or
// after the socket is closed, turns the end into a reset, and that overtakes the last
// answer; so the peer is told that nothing more will come, and has a moment to stop.
func (c *Conn) linger() {
	if c.top != &c.raw {
		c.CloseWrite()
	}
	h, ok := c.raw.Conn.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	c.raw.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, c.raw.Conn)
}

// Abort closes the socket without a goodbye and without waiting for anybody; a write in
// progress fails. It may be called from any goroutine, and after Close.
func (c *Conn) Abort() {
	c.closed.Store(true)
	c.raw.reads.Close()
	if tc, ok := c.raw.Conn.(*net.TCPConn); ok && c.raw.send.lingers {
		tc.SetLinger(-1) // else close waits
	}
	c.raw.Conn.Close()
}

// CloseWrite tells the peer that nothing more will be sent; reading goes on. The error
// is errors.ErrUnsupported where the connection cannot be closed by halves.
func (c *Conn) CloseWrite() error {
	var nc net.Conn = c.raw.Conn
	if c.top != &c.raw {
		nc = c.top
	}
	if h, ok := nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return opError("close", c.raw.Conn, errors.ErrUnsupported)
}

// CloseRead refuses whatever the peer sends from now on; writing goes on. The error is
// errors.ErrUnsupported where the connection cannot be closed by halves.
func (c *Conn) CloseRead() error {
	if h, ok := c.raw.Conn.(interface{ CloseRead() error }); ok {
		return h.CloseRead()
	}
	return opError("close", c.raw.Conn, errors.ErrUnsupported)
}

// SetDeadline sets both deadlines, as SetReadDeadline and SetWriteDeadline do.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes reads fail from t on; zero means never. It cannot undo
// [Conn.StopReading].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline makes writes fail from t on; zero means never. The send timeout
// holds besides: whichever comes first ends the write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

// StopReading wakes a blocked read and makes it, and all later ones, fail with an
// error that wraps cause. Writes go on. It is how a protocol is told to finish; only
// the first cause counts.
func (c *Conn) StopReading(cause error) { c.raw.reads.Stop(c.raw.Conn, cause) }
