package web

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"goranch/internal/bufpool"
)

// browserConn is the connection under a WebSocket. Package websocket reads it and writes control
// frames; data frames are written by writeText, without a buffer that an idle WebSocket would have to
// keep.
type browserConn struct {
	net.Conn
	early   []byte // received by net/http before the upgrade
	timeout time.Duration

	mu     sync.Mutex // held while a frame is written
	closed bool       // a close frame was written, after which there are no other frames
}

// acceptWebSocket sends the answer to the upgrade.
func acceptWebSocket(w http.ResponseWriter, r *http.Request, timeout time.Duration) (*websocket.Conn, *browserConn, error) {
	h := &hijacker{ResponseWriter: w, conn: &browserConn{timeout: timeout}}
	if canHijack(w) {
		w = h
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // admit has checked the origin
	if err == nil {
		h.reader.Reset(h.conn) // without the layer that websocket.Accept has added for buffered data
	}
	return conn, h.conn, err
}

// hijacker replaces the buffers of net/http, of 4 KiB each, by small ones.
type hijacker struct {
	http.ResponseWriter
	conn   *browserConn
	reader *bufio.Reader
}

// Sizes of the buffers that a WebSocket keeps. The first one holds most requests, and the second one
// any control frame.
const (
	readBuffer  = 512
	writeBuffer = 256
)

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.Conn = nc
	h.conn.early = make([]byte, brw.Reader.Buffered())
	io.ReadFull(brw.Reader, h.conn.early) // does not read nc
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

func (c *browserConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		c.early = nil
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// The first bytes of the frames that the server writes (RFC 6455).
const (
	textFrame  = 0x81
	closeFrame = 0x88
)

// Write writes a control frame of package websocket, which writes each at once.
func (c *browserConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = c.closed || len(p) > 0 && p[0] == closeFrame
	c.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.Conn.Write(p)
}

// oneWrite is the number of bytes of a message that are copied, to be written with its header.
const oneWrite = 4<<10 - maxFrameHeader

// writeText writes a text frame.
func (c *browserConn) writeText(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.SetWriteDeadline(time.Now().Add(c.timeout))
	first := min(len(p), oneWrite)
	b := append(appendFrameHeader(bufpool.Get(maxFrameHeader+first), len(p)), p[:first]...)
	defer bufpool.Put(b)
	_, err := c.Conn.Write(b)
	if err == nil && first < len(p) {
		_, err = c.Conn.Write(p[first:])
	}
	return err
}

const maxFrameHeader = 10

// appendFrameHeader appends the header of a text frame with n bytes.
func appendFrameHeader(b []byte, n int) []byte {
	switch b = append(b, textFrame); {
	case n < 126:
		return append(b, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}
