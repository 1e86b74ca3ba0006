package wslisten

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/coder/websocket"

	"goranch/internal/websock"
)

var (
	errNoPong   = fmt.Errorf("the client has not answered a ping: %w", os.ErrDeadlineExceeded)
	errSendText = errors.New("a text message must be UTF-8")
)

// peerError is the error of reads after a close frame with a code that is no normal end.
type peerError struct{ code websocket.StatusCode }

func (e *peerError) Error() string {
	return fmt.Sprintf("the client has closed the WebSocket with code %d", int(e.code))
}
func (e *peerError) Unwrap() error { return io.ErrUnexpectedEOF }

// answerPing answers the last ping that was read, as RFC 6455 allows: a flood of pings costs one
// pong per read. c.readMu is held.
func (c *conn) answerPing() {
	if !c.in.pinged {
		return
	}
	c.in.pinged = false
	c.pongMu.Lock()
	c.pong, c.owed = append(c.pong[:0], c.in.ping...), true
	c.pongMu.Unlock()
	c.sendPong()
}

// sendPong sends the pong that is owed. If a write is in progress, its goroutine calls sendPong
// afterwards.
func (c *conn) sendPong() {
	for {
		c.pongMu.Lock()
		owed := c.owed
		c.pongMu.Unlock()
		if !owed || !c.writeMu.TryLock() {
			return
		}
		var pong [websock.MaxControl]byte
		c.pongMu.Lock()
		n := copy(pong[:], c.pong)
		owed, c.owed = c.owed, false
		c.pongMu.Unlock()
		if owed && c.writeErr == nil {
			c.writeFrame(websock.Pong, pong[:n])
		}
		c.writeMu.Unlock()
	}
}

// fail makes reads fail with err.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && c.fatal == nil {
		c.fatal = err
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) fatalError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fatal
}

// checkAlive pings a client that has sent nothing since the last call, and interrupts the read if
// the last ping was not answered.
func (c *conn) checkAlive() {
	received := c.received.Load()
	switch {
	case received != c.checked || !c.reading.Load():
		c.checked, c.pinged = received, false
	case c.pinged:
		c.fail(errNoPong)
		return
	default:
		c.pinged = true
		if c.writeMu.TryLock() { // else a write is in progress, whose time is limited
			if c.writeErr == nil {
				c.writeFrame(websock.Ping, nil)
			}
			c.writeMu.Unlock()
			c.sendPong()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.pings.Reset(c.t.opts.KeepAlive)
	}
}
