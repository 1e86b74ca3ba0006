package wslisten

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"goranch/internal/bufpool"
	"goranch/internal/websock"
	"goranch/transport"
)

// conn is a WebSocket as a stream: the net.Conn that Accept returns. Its deadlines interrupt reads
// at any byte, which package websocket cannot continue. It holds no buffer.
type conn struct {
	// Set once.
	t             *Transport
	remote, local net.Addr
	tls           *tls.ConnectionState // nil: no TLS
	value         any                  // of Options.Authorize
	subprotocol   string
	nc            net.Conn      // below; nil until the WebSocket is open
	limit         time.Duration // of a write; not positive: none
	admission     *admission

	// State.
	mu                          sync.Mutex
	readDeadline, writeDeadline time.Time   // set by the user
	writeLimit                  time.Time   // the end of limit for the write in progress
	closed                      bool        // by Close or closeGracefully: deadlines of the user do not count
	fatal                       error       // ends reads: of a write, or of a ping that was not answered
	err, cause                  error       // of NotifyEnd
	pings                       *time.Timer // nil: none

	// Read side.
	readMu    sync.Mutex // held during a read
	in        decoder
	ahead     [256]byte // ahead[next:end] is payload that was read by WaitReadable
	next, end int
	more      bool          // the last read has filled its buffer, so there is probably more
	readErr   error         // final
	reading   atomic.Bool   // a read waits for the client
	received  atomic.Uint64 // reads that have received something
	pinged    bool          // used by checkAlive only
	checked   uint64        // as pinged

	// Write side.
	writeMu  sync.Mutex // held during a write
	writeErr error      // final
	partial  []byte     // the beginning of a character, in text

	pongMu sync.Mutex
	pong   []byte // to be sent, if owed
	owed   bool
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// NetConn returns the connection of the HTTP server, nil if the WebSocket is not open yet.
func (c *conn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// Read reads payload of messages.
func (c *conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.next < c.end {
		n := copy(p, c.ahead[c.next:c.end])
		c.next += n
		return n, nil
	}
	for len(p) > 0 && c.readErr == nil {
		n, err := c.readSome(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, c.readErr
}

// WaitReadable implements engine.ReadableWaiter. It waits with the small buffer of c, so that an
// idle connection does not hold a read buffer.
func (c *conn) WaitReadable() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for c.next == c.end && c.readErr == nil && !c.more {
		n, err := c.readSome(c.ahead[:])
		if c.next, c.end = 0, n; err != nil {
			return // the next read fails too
		}
	}
}

// readSome reads once. n and err are 0 and nil if only control frames or headers have arrived, or
// readErr is set. c.readMu is held.
func (c *conn) readSome(p []byte) (int, error) {
	c.reading.Store(true)
	raw, err := c.nc.Read(p)
	c.reading.Store(false)
	if raw > 0 {
		c.received.Add(1)
	}
	c.more = raw == len(p)
	n, verr := c.in.decode(p[:raw])
	c.answerPing()
	switch {
	case verr != nil:
		c.readErr = verr
	case c.in.closed:
		c.readErr = closedError(c.in.code)
	case err == io.EOF:
		c.readErr = io.ErrUnexpectedEOF
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.readErr = c.fatalError(); c.readErr == nil {
			return n, err
		}
	default:
		c.readErr = err
	}
	return n, nil
}

// closedError returns the error of reads after a close frame.
func closedError(code websocket.StatusCode) error {
	switch code {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	return &peerError{code}
}

// Write sends p as one message.
func (c *conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	n, err := c.writeMessage(p)
	c.writeMu.Unlock()
	c.sendPong()
	return n, err
}

// writeMessage writes p, in text after the partial character of the previous message. c.writeMu is
// held.
func (c *conn) writeMessage(p []byte) (int, error) {
	switch {
	case c.writeErr != nil:
		return 0, c.writeErr
	case len(p) == 0:
		return 0, nil
	case !c.t.opts.Text:
		return c.writeFrame(websock.Binary, p)
	}
	message, partial := p, len(c.partial)
	if partial > 0 {
		message = append(append(bufpool.Get(partial+len(p)), c.partial...), p...)
		defer func(b []byte) { bufpool.Put(b) }(message)
	}
	whole := wholeRunes(message)
	if !utf8.Valid(message[:whole]) {
		return 0, errSendText
	}
	if whole > 0 {
		if n, err := c.writeFrame(websock.Text, message[:whole]); err != nil {
			return max(n-partial, 0), err
		}
	}
	c.partial = append(c.partial[:0], message[whole:]...)
	return len(p), nil
}

// writeFrame writes a frame. c.writeMu is held.
func (c *conn) writeFrame(op websock.Opcode, p []byte) (int, error) {
	c.startWrite()
	n, whole, err := websock.WriteFrame(c.nc, op, p)
	err = c.endWrite(err)
	expired := errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, transport.ErrSendTimeout) // that of the user
	if err != nil && (whole > 0 || !expired) {
		c.writeErr = err // no other frame can follow a part of one
	}
	if err != nil && !expired {
		c.fail(err)
	}
	return n, err
}

// startWrite starts the time limit of a write.
func (c *conn) startWrite() {
	if c.limit <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return // closeGracefully has set the deadline
	}
	c.writeLimit = time.Now().Add(c.limit)
	c.nc.SetWriteDeadline(earlier(c.writeLimit, c.writeDeadline))
}

// endWrite ends the time limit of a write, and returns its error.
func (c *conn) endWrite(err error) error {
	if c.limit <= 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.writeLimit
	c.writeLimit = time.Time{}
	if errors.Is(err, os.ErrDeadlineExceeded) && !limit.IsZero() && !time.Now().Before(limit) {
		return &net.OpError{Op: "write", Net: "websocket", Source: c.local, Addr: c.remote, Err: transport.ErrSendTimeout}
	}
	return err
}

// earlier returns the earlier of two deadlines; the zero time means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	if c.nc == nil || c.closed || c.fatal != nil {
		return nil
	}
	return c.nc.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline = t
	if c.nc == nil || c.closed {
		return nil
	}
	return c.nc.SetWriteDeadline(earlier(c.writeLimit, t))
}
