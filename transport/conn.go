package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Conn is the connection that protocols use: a net.Conn that also provides its id, its transport,
// the state of TLS, the PROXY header, counters and labels.
//
// The goroutine that runs the protocol owns it. Other goroutines may write to it, close it and set
// deadlines. Only one read may be in progress: Read, Peek, WriteTo and the ReadFrom of another
// connection must not overlap.
//
// A write that the peer does not accept within the send timeout of the transport fails with
// [ErrSendTimeout]. An idle Conn holds no buffer.
type Conn struct {
	// Counters. They come first because each read and write uses them, so that they share cache
	// lines.
	reads, writes         atomic.Uint64
	readBytes, writeBytes atomic.Uint64

	// The socket and the layers above it.
	raw rawConn

	// Identity and lifecycle.
	id     uint64
	owner  any
	labels atomic.Pointer[[]Label] // nil: none; what it points to is never modified
	closing

	// Messages.
	receiving atomic.Uint32 // odd: the peer is in the middle of a message; see SetReceiving
}

var lastID atomic.Uint64

// NewConn returns a Conn for nc, which was accepted on a listener of t, and takes ownership of nc.
// It neither reads nor writes. Call [Conn.Handshake] before the payload.
func NewConn(t Transport, nc net.Conn) *Conn {
	c := new(Conn)
	c.init(t, nc, nil)
	return c
}

func (c *Conn) init(t Transport, nc net.Conn, owner any) {
	c.id, c.owner = lastID.Add(1), owner
	c.raw.Conn = nc
	c.raw.sys = sysConn(nc)
	c.raw.sendTimeout = sendLimitOf(t).timeout
	c.raw.t = t
}

// Handshake runs the handshake of the transport: none for TCP, the server's side of the TLS
// handshake for TLS. After an error the connection can only be closed.
func (c *Conn) Handshake(ctx context.Context) error { return c.prepare(ctx, c.raw.t) }

func (c *Conn) prepare(ctx context.Context, t Transport) error {
	var wire *tlsWire
	if t.Secure() {
		wire = &tlsWire{conn: c, handshake: true}
		c.raw.needLayer().wire = wire
	}
	top, err := t.Handshake(ctx, &c.raw)
	if err != nil {
		return c.raw.readError(err)
	}
	if top == nil {
		return fmt.Errorf("the handshake of transport %s returned neither a connection nor an error", t.Name())
	}
	if wire != nil { // after a failure, crypto/tls may still be closing the raw connection
		c.raw.needLayer().wire = nil
	}
	if s, ok := top.(tlsStater); ok {
		state := &tlsState{tlsStater: s}
		if wire != nil {
			state.handshakeRead, state.handshakeWritten = wire.read, wire.written
		}
		c.raw.needLayer().secure.Store(state)
	}
	if top != net.Conn(&c.raw) {
		c.raw.needLayer().top = top
	}
	return nil
}

// tlsStater is implemented by TLS connections.
type tlsStater interface{ ConnectionState() tls.ConnectionState }

// tlsState makes the state of TLS readable by other goroutines while the connection is being
// upgraded.
type tlsState struct {
	tlsStater
	handshakeRead, handshakeWritten uint64 // bytes on the wire
}

// ID returns a number that is unique among the connections of this process. It is never 0.
func (c *Conn) ID() uint64 { return c.id }

// Transport returns the transport that accepted the connection.
func (c *Conn) Transport() Transport { return c.raw.t }

// NetConn returns the connection that Accept returned. Reading or writing it bypasses TLS, the
// counters and the send timeout.
func (c *Conn) NetConn() net.Conn { return c.raw.Conn }

// TLS returns the state of TLS; the result is false without TLS. It may be called from any
// goroutine.
func (c *Conn) TLS() (tls.ConnectionState, bool) {
	if s := c.raw.tlsState(); s != nil {
		return s.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// Stats are the counters of a connection. They count payload, which over TLS is less than the data
// on the wire. Only those of a TLS connection that package netlisten has passed on as a *tls.Conn
// count encrypted bytes, including the handshake.
type Stats struct {
	Reads, Writes           uint64 // calls that transferred data or failed
	BytesRead, BytesWritten uint64
}

// Stats returns the counters. Each is exact; they are not read at one instant.
func (c *Conn) Stats() Stats {
	return Stats{
		Reads: c.reads.Load(), Writes: c.writes.Load(),
		BytesRead: c.readBytes.Load() &^ sealed, BytesWritten: c.writeBytes.Load() &^ sealed,
	}
}

// Read reads the data that has arrived, and waits if there is none. After [Conn.StopReading] its
// error wraps the cause.
func (c *Conn) Read(p []byte) (int, error) {
	f := c.raw.limited()
	if f != nil {
		p = p[:f.in.MaxPiece(len(p))]
	}
	var n int
	var err error
	switch {
	case c.top() == nil && c.raw.ahead == nil:
		n, err = c.raw.Conn.Read(p)
	case c.payloadAhead() != nil:
		n = take(&c.raw.layer.Load().ahead, p)
	default:
		n, err = c.carrier().Read(p)
	}
	c.countRead(n, p, err)
	if err != nil {
		err = c.raw.readError(err)
	}
	if f != nil {
		c.raw.throttleRead(f, n)
	}
	return n, err
}

// Write writes all of p, or returns an error. Concurrent writes are not interleaved.
func (c *Conn) Write(p []byte) (n int, err error) {
	if f := c.raw.limited(); f != nil {
		return c.writeLimited(f, p)
	}
	if c.top() == nil {
		n, err = c.raw.write(p)
	} else {
		n, err = c.writeRecords(p)
	}
	c.countWrite(n, p, err)
	return n, err
}

func (c *Conn) writeRecords(p []byte) (int, error) {
	l := c.raw.layer.Load()
	l.records.Lock()
	defer l.records.Unlock()
	return l.top.Write(p)
}

// countRead counts and traces n bytes read to the beginning of p. p is nil if the kernel moved
// them.
func (c *Conn) countRead(n int, p []byte, err error) {
	c.reads.Add(1)
	if c.readBytes.Add(uint64(n)) >= sealed {
		c.countLate(n, 0)
	}
	if c.raw.traced() != nil {
		c.trace("read", n, p, err)
	}
}

func (c *Conn) countWrite(n int, p []byte, err error) {
	c.writes.Add(1)
	if c.writeBytes.Add(uint64(n)) >= sealed {
		c.countLate(0, n)
	}
	if c.raw.traced() != nil {
		c.trace("write", n, p, err)
	}
}

// Close closes the connection gracefully: TLS sends close_notify, and the kernel sends the data
// that is still queued. Later calls, also after [Conn.Abort], only wait until the socket is closed,
// and return nil. It may be called from any goroutine.
func (c *Conn) Close() error {
	if !c.beginClose() {
		c.endClose()
		c.awaitClose()
		return nil
	}
	defer c.endClose()
	c.raw.reads.Close()
	c.raw.wakeFlows()
	if c.raw.reads.Stopped() != nil && c.discard() {
		c.linger()
	}
	return c.carrier().Close()
}

// lingerTime is the time that net/http allows in the same situation.
const lingerTime = 500 * time.Millisecond

// linger closes a connection on which the peer was still sending. Data that arrives unread, or
// after the socket is closed, makes the kernel send RST, which can overtake the last answer.
// Therefore linger shuts down the write side and gives the peer up to lingerTime to
// stop sending.
func (c *Conn) linger() {
	if c.top() != nil {
		c.CloseWrite()
	}
	h, ok := c.raw.Conn.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	c.raw.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, c.raw.Conn)
}

// Abort closes the socket at once, without close_notify and without lingering. A write in progress
// fails. It may be called from any goroutine, and after Close.
func (c *Conn) Abort() {
	c.beginClose()
	defer c.endClose()
	c.raw.reads.Close()
	c.raw.wakeFlows()
	if tc, ok := c.raw.Conn.(*net.TCPConn); ok && sendLimitOf(c.raw.t).lingers {
		tc.SetLinger(-1) // otherwise close(2) waits
	}
	c.raw.Conn.Close()
}

// CloseWrite shuts down the write side: the peer reads EOF. Reading continues. The error is
// errors.ErrUnsupported if the connection has no half-close.
func (c *Conn) CloseWrite() error {
	nc := c.top()
	if nc == nil {
		nc = c.raw.Conn
	}
	if h, ok := nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return opError("close", c.raw.Conn, errors.ErrUnsupported)
}

// CloseRead shuts down the read side. Writing continues. The error is errors.ErrUnsupported if the
// connection has no half-close.
func (c *Conn) CloseRead() error {
	if h, ok := c.raw.Conn.(interface{ CloseRead() error }); ok {
		return h.CloseRead()
	}
	return opError("close", c.raw.Conn, errors.ErrUnsupported)
}

// SetDeadline calls SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes reads fail from t on; the zero time means no deadline. It does not undo
// [Conn.StopReading].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline makes writes fail from t on; the zero time means no deadline. The send timeout
// applies as well: the earlier of the two ends a write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

// StopReading makes the blocked and all later reads fail with an error that wraps cause; writes
// continue. It asks the protocol to finish. Only the first cause counts. It may be called from any
// goroutine.
func (c *Conn) StopReading(cause error) {
	c.raw.reads.Stop(c.raw.Conn, cause)
	c.raw.wakeFlows()
}
