package web

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"goranch/internal/websock"
)

// browserConn is the connection under a WebSocket. Package websocket reads it and writes control
// frames; data frames are written by writeText, without a buffer that an idle WebSocket would have
// to keep.
type browserConn struct {
	net.Conn
	timeout time.Duration

	mu     sync.Mutex // held while a frame is written
	closed bool       // a close frame was written, after which there are no other frames
}

// acceptWebSocket sends the answer to the upgrade. admit has checked the origin.
func acceptWebSocket(w http.ResponseWriter, r *http.Request, timeout time.Duration) (*websocket.Conn, *browserConn, error) {
	browser := &browserConn{timeout: timeout}
	conn, err := websock.Upgrade(w, r, nil, func(nc net.Conn) net.Conn {
		browser.Conn = nc
		return browser
	})
	return conn, browser, err
}

// Write writes a control frame of package websocket, which writes each at once.
func (c *browserConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = c.closed || len(p) > 0 && p[0] == websock.CloseByte
	c.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.Conn.Write(p)
}

// writeText writes a text frame.
func (c *browserConn) writeText(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.SetWriteDeadline(time.Now().Add(c.timeout))
	_, _, err := websock.WriteFrame(c.Conn, websock.Text, p)
	return err
}
