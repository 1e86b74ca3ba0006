package transport

import "net"

// ProxyHeader is the PROXY header that a proxy in front of the server has sent at the start of a
// connection. Package transport/proxy reads and writes it.
type ProxyHeader struct {
	// Version is the version of the PROXY protocol, 1 or 2.
	Version int
	// Local reports that the proxy itself opened the connection, usually for a health check. The
	// addresses of the socket apply.
	Local bool
	// Source is the address of the client, and Destination the address that it connected to. They
	// are nil if the connection is local or the header cannot express its addresses.
	Source, Destination net.Addr
	// TLVs are the type-length-value fields of the header, in its order. Version 1 has none.
	TLVs []TLV
}

// TLV is one type-length-value field of a PROXY header. Its Type is defined by the specification or
// by the vendor of the proxy.
type TLV struct {
	Type  byte
	Value []byte
}

// SetProxy is called once, before the payload.
func (w *rawConn) SetProxy(h *ProxyHeader) { w.needExtras().proxy.Store(h) }

// LocalAddr returns the destination in the PROXY header, or the address of the socket.
func (w *rawConn) LocalAddr() net.Addr {
	if h := w.header(); h != nil && h.Destination != nil {
		return h.Destination
	}
	return w.Conn.LocalAddr()
}

// RemoteAddr returns the source in the PROXY header, or the address of the socket.
func (w *rawConn) RemoteAddr() net.Addr {
	if h := w.header(); h != nil && h.Source != nil {
		return h.Source
	}
	return w.Conn.RemoteAddr()
}

// LocalAddr returns the address that the client connected to: the destination in the PROXY header,
// if there is one, or else the address of the socket, which NetConn().LocalAddr() always returns.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address of the client: the source in the PROXY header, if there is one, or
// else the peer of the socket, which NetConn().RemoteAddr() always returns.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Proxy returns the PROXY header of the connection; nil if there is none.
func (c *Conn) Proxy() *ProxyHeader { return c.raw.header() }
