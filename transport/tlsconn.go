package transport

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// tlsWire counts the bytes that TLS exchanges with the socket: during a handshake, and after it if
// the TLS connection is used directly instead of through its Conn.
type tlsWire struct {
	conn          *Conn
	handshake     bool
	read, written uint64 // bytes of the handshake

	// Only if the TLS connection is used directly.
	onEnd  func()
	closed atomic.Bool
}

// tlsConn implements TLSConn of engine.Conn. Deadlines, the send timeout and StopReading apply as
// before.
//
// The bytes of the handshake are counted too: crypto/tls may have received the beginning of the
// payload together with its end.
func (c *Conn) tlsConn(onEnd func()) *tls.Conn {
	tc, ok := c.top().(*tls.Conn)
	if !ok || c.raw.layer.Load().ahead != nil || tc.NetConn() != net.Conn(&c.raw) {
		return nil
	}
	if s := c.raw.tlsState(); s != nil {
		c.readBytes.Add(s.handshakeRead)
		c.writeBytes.Add(s.handshakeWritten)
	}
	c.raw.needLayer().wire = &tlsWire{conn: c, onEnd: onEnd}
	return tc
}

func (t *tlsWire) countRead(n int, p []byte, err error) {
	if t.handshake {
		t.read += uint64(n)
		return
	}
	t.conn.countRead(n, p, err)
}

func (t *tlsWire) countWrite(n int, p []byte, err error) {
	if t.handshake {
		t.written += uint64(n)
		return
	}
	t.conn.countWrite(n, p, err)
}

// Read is called by TLS. Plain payload is read through it only after a Peek.
func (w *rawConn) Read(p []byte) (n int, err error) {
	var f *flows
	if t := w.wire(); t != nil && !t.handshake {
		if f = w.limited(); f != nil {
			p = p[:f.in.MaxPiece(len(p))]
		}
	}
	switch {
	case w.ahead != nil:
		n = take(&w.ahead, p)
	case w.nonblocking():
		return 0, errWouldBlock
	default:
		n, err = w.Conn.Read(p)
	}
	if t := w.wire(); t != nil {
		t.countRead(n, p, err)
		if err != nil && !t.handshake {
			err = w.readError(err)
		}
	}
	if f != nil {
		w.throttleRead(f, n)
	}
	return n, err
}

// Write is called by TLS; Conn calls write.
func (w *rawConn) Write(p []byte) (int, error) {
	if t := w.wire(); t != nil && !t.handshake {
		if f := w.limited(); f != nil {
			return w.writeDirect(f, p)
		}
	}
	n, err := w.write(p)
	if t := w.wire(); t != nil {
		t.countWrite(n, p, err)
	}
	return n, err
}

// Close closes the socket.
func (w *rawConn) Close() error {
	t := w.wire()
	direct := t != nil && t.onEnd != nil // Conn.Close is not called
	if direct {
		w.reads.Close() // before the socket is closed
	}
	err := w.Conn.Close()
	if direct && !t.closed.Swap(true) {
		t.conn.closing.v.Or(closedBit)
		t.onEnd()
	}
	return err
}
