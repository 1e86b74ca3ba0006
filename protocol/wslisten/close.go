package wslisten

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/coder/websocket"

	"goranch/internal/bufpool"
	"goranch/internal/websock"
	"goranch/protocol"
	"goranch/transport"
)

// NotifyEnd implements engine.EndNotifier.
func (c *conn) NotifyEnd(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.cause = err, cause
}

// beginClose marks the connection as closed. It returns the connection below, nil if there is none
// or it was called before.
func (c *conn) beginClose() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.pings != nil {
		c.pings.Stop()
	}
	close(c.admission.refused)
	return c.nc
}

// Close closes the connection at once, without a close frame. It interrupts closeGracefully.
func (c *conn) Close() error {
	c.beginClose()
	nc := c.NetConn()
	if nc == nil {
		return nil
	}
	if tc := transport.Of(nc); tc != nil {
		tc.Abort()
	}
	return nc.Close()
}

// closeGracefully sends a close frame, waits for that of the client, and closes the connection,
// within CloseTimeout.
func (c *conn) closeGracefully() error {
	nc := c.beginClose()
	if nc == nil {
		return nil
	}
	end := time.Now().Add(c.t.opts.CloseTimeout)
	nc.SetWriteDeadline(end) // also of a write in progress
	nc.SetReadDeadline(time.Unix(1, 0))
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.sendClose() {
		nc.SetReadDeadline(end)
		c.awaitClose()
	}
	return nc.Close()
}

// sendClose sends the close frame, which is the last one. c.readMu is held.
func (c *conn) sendClose() bool {
	code, reason := c.closeCode()
	var payload []byte
	if code != websocket.StatusNoStatusRcvd {
		payload = append(binary.BigEndian.AppendUint16(nil, uint16(code)), websock.Reason(reason)...)
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.writeErr != nil {
		return false
	}
	_, _, err := websock.WriteFrame(c.nc, websock.Close, payload)
	c.writeErr = net.ErrClosed
	return err == nil
}

// maxUnread limits what is read of a client that does not answer the close frame, in bytes. Data
// that is unread when the socket is closed would reset the connection, and the client would not see
// the close frame.
const maxUnread = 1 << 20

// awaitClose reads until the client has closed the WebSocket. After a violation its frames are not
// examined any more. c.readMu is held.
func (c *conn) awaitClose() {
	b := bufpool.Get(4 << 10)
	defer func() { bufpool.Put(b) }()
	p := b[:cap(b)]
	for unread := 0; unread < maxUnread && !c.in.closed; {
		n, err := c.nc.Read(p)
		unread += n
		if c.violation() == nil {
			if _, err := c.in.decode(p[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// violation returns the violation that has ended reads, nil if there is none. c.readMu is held.
func (c *conn) violation() *violation {
	var v *violation
	errors.As(c.readErr, &v)
	return v
}

// closeCode returns the code and the reason of the close frame. c.readMu is held.
func (c *conn) closeCode() (websocket.StatusCode, string) {
	if v := c.violation(); v != nil {
		return v.code, v.text
	}
	if c.in.closed {
		return c.in.code, "" // the answer to a close frame repeats its code
	}
	c.mu.Lock()
	err, cause := c.err, c.cause
	c.mu.Unlock()
	switch {
	case cause != nil:
		return websocket.StatusGoingAway, cause.Error()
	case err == nil, err == io.EOF:
		return websocket.StatusNormalClosure, ""
	case errors.Is(err, protocol.ErrShutdown):
		return websocket.StatusGoingAway, protocol.ErrShutdown.Error()
	case errors.Is(err, protocol.ErrFrameTooLarge):
		return websocket.StatusMessageTooBig, err.Error()
	case errors.Is(err, protocol.ErrBadInput):
		return websocket.StatusPolicyViolation, err.Error()
	case errors.Is(err, protocol.ErrQueueFull):
		return websocket.StatusTryAgainLater, protocol.ErrQueueFull.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return websocket.StatusGoingAway, "timeout"
	case errors.Is(err, net.ErrClosed): // the protocol has closed the connection itself
		return websocket.StatusNormalClosure, ""
	}
	return websocket.StatusInternalError, ""
}
