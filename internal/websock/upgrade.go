// Package websock provides what the WebSocket servers of this module share: upgrades that leave no
// large buffers behind, and frames (RFC 6455).
package websock

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// Sizes of the buffers that a WebSocket of package websocket keeps. The first one holds most
// requests, and the second one any control frame.
const (
	readBuffer  = 512
	writeBuffer = 256
)

// Upgrade answers the request for an upgrade, and says in an error that it has answered it. The
// origin is not checked: see package weborigin. wrap is called with the connection, which returns
// first what net/http has received already; the WebSocket uses its result. ServeHTTP has to return
// afterwards.
func Upgrade(w http.ResponseWriter, r *http.Request, subprotocols []string, wrap func(net.Conn) net.Conn) (*websocket.Conn, error) {
	h := &hijacker{ResponseWriter: w, wrap: wrap}
	if canHijack(w) {
		w = h
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: subprotocols})
	if err == nil {
		h.reader.Reset(h.conn) // without the layer that websocket.Accept has added for buffered data
	}
	return conn, err
}

// hijacker replaces the buffers of net/http, of 4 KiB each, by small ones.
type hijacker struct {
	http.ResponseWriter
	wrap   func(net.Conn) net.Conn
	conn   net.Conn
	reader *bufio.Reader
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if n := brw.Reader.Buffered(); n > 0 {
		early := make([]byte, n)
		io.ReadFull(brw.Reader, early) // does not read nc
		nc = &earlyConn{nc, early}
	}
	h.conn = h.wrap(nc)
	h.reader = bufio.NewReaderSize(h.conn, readBuffer)
	return h.conn, bufio.NewReadWriter(h.reader, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}

// WriteHeaderNow is called by package websocket for the ResponseWriters that have it.
func (h *hijacker) WriteHeaderNow() {
	if w, ok := h.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		w.WriteHeaderNow()
	}
}

// canHijack reports whether the connection of w can be taken over, as package websocket decides it.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// earlyConn returns first what was received before the upgrade.
type earlyConn struct {
	net.Conn
	early []byte
}

// NetConn returns the connection below, for transport.Of.
func (c *earlyConn) NetConn() net.Conn { return c.Conn }

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		c.early = nil
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}
