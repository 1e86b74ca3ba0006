package transport

import "net"

// Of returns the Conn that carries nc: nc itself, or the Conn below its wrappers, such as a
// [tls.Conn]. A wrapper has a method NetConn() net.Conn, which returns the connection that it
// wraps, or, if it embeds a *Conn, a method TransportConn() *Conn. The result is nil if there is no
// Conn.
func Of(nc net.Conn) *Conn {
	for nc != nil {
		switch c := nc.(type) {
		case *Conn:
			return c
		case *rawConn:
			if t := c.wire(); t != nil && t.onEnd != nil {
				return t.conn
			}
			return nil
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
