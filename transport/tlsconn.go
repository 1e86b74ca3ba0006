package transport

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// handedOut is a connection of crypto/tls that somebody uses past its Conn.
type handedOut struct {
	conn   *Conn
	closed func()
	over   atomic.Bool
}

// tlsConn returns the connection of crypto/tls that the payload goes through, for
// packages that insist on one: net/http does, to speak HTTP/2. It is nil if there is
// none, or if [Conn.Peek] has read ahead of it.
//
// From then on only what is returned may be read and written, and its owner closes it;
// closed is then called, in the goroutine that closes. Deadlines, the send timeout and
// StopReading hold as before; its traffic is not in Stats.
//
// It is called once, by the goroutine that owns c.
func (c *Conn) tlsConn(closed func()) *tls.Conn {
	tc, ok := c.top.(*tls.Conn)
	if !ok || c.ahead != nil || tc.NetConn() != net.Conn(&c.raw) {
		return nil
	}
	c.raw.handed = &handedOut{conn: c, closed: closed}
	return tc
}

// Close closes the socket.
func (w *rawConn) Close() error {
	err := w.Conn.Close()
	if l := w.handed; l != nil && !l.over.Swap(true) {
		l.conn.closed.Store(true)
		l.closed()
	}
	return err
}

// Of returns the Conn that carries nc: nc itself, or what is below the wrappers around
// it, such as a [tls.Conn], that say by a method NetConn what they wrap. A wrapper that
// embeds a *Conn says it by a method TransportConn, which returns it. The result is nil
// if there is no Conn below.
func Of(nc net.Conn) *Conn {
	for nc != nil {
		switch c := nc.(type) {
		case *Conn:
			return c
		case *rawConn:
			if c.handed == nil {
				return nil
			}
			return c.handed.conn
		case interface{ TransportConn() *Conn }:
			return c.TransportConn()
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}
