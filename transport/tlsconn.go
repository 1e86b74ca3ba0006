package transport

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// exportedTLS is a TLS connection that is used directly instead of through its Conn.
type exportedTLS struct {
	conn   *Conn
	onEnd  func()
	closed atomic.Bool
}

// tlsConn implements TLSConn of engine.Conn for net/http, which serves HTTP/2 only on a *tls.Conn.
// Deadlines, the send timeout and StopReading apply as before; Stats does not count the traffic.
func (c *Conn) tlsConn(onEnd func()) *tls.Conn {
	tc, ok := c.top.(*tls.Conn)
	if !ok || c.ahead != nil || tc.NetConn() != net.Conn(&c.raw) {
		return nil
	}
	c.raw.exported = &exportedTLS{conn: c, onEnd: onEnd}
	return tc
}

// Close closes the socket.
func (w *rawConn) Close() error {
	err := w.Conn.Close()
	if e := w.exported; e != nil && !e.closed.Swap(true) {
		e.conn.closed.Store(true)
		e.onEnd()
	}
	return err
}
