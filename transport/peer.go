package transport

import (
	"net"
)

// ProxyHeader is what a proxy in front of the server has said of a connection. Package
// transport/proxy reads and writes it.
type ProxyHeader struct {
	// Version is that of the protocol, 1 or 2.
	Version int
	// Local says that the proxy speaks for itself, to see whether the server is well: the
	// connection's own addresses hold.
	Local bool
	// Source and Destination are the client's address and the one that it connected to.
	// They are nil if the connection is local, or of a kind that the header cannot express.
	Source, Destination net.Addr
	// TLVs is what else the proxy has said, in its order. Only version 2 has them.
	TLVs []TLV
}

// TLV is one statement in a PROXY header: a type, as the specification or the proxy's
// maker defines it, and a value.
type TLV struct {
	Type  byte
	Value []byte
}

// Accepted is what the Handshake of a [Transport] gets from a [Conn]: the connection as
// accepted, behind the send timeout, with what a transport needs that looks at the
// first bytes before another takes over.
type Accepted interface {
	net.Conn
	// NetConn returns the connection that Accept returned.
	NetConn() net.Conn
	// Peek waits until n bytes have arrived and returns them, or more, without taking
	// them. If the stream ends or fails before, what came so far is returned with the error.
	Peek(n int) ([]byte, error)
	// Discard takes n bytes that Peek has returned.
	Discard(n int)
	// SetProxy makes the addresses in h those of the connection.
	SetProxy(h *ProxyHeader)
}

// SetProxy is called once, before the payload.
func (w *rawConn) SetProxy(h *ProxyHeader) { w.proxy.Store(h) }

// LocalAddr returns the address that the peer connected to: what a PROXY header said, or
// that of the socket.
func (w *rawConn) LocalAddr() net.Addr {
	if h := w.proxy.Load(); h != nil && h.Destination != nil {
		return h.Destination
	}
	return w.Conn.LocalAddr()
}

// RemoteAddr returns the peer's address: what a PROXY header said, or that of the socket.
func (w *rawConn) RemoteAddr() net.Addr {
	if h := w.proxy.Load(); h != nil && h.Source != nil {
		return h.Source
	}
	return w.Conn.RemoteAddr()
}

// LocalAddr returns the address that the peer connected to. Behind a proxy that sent a
// PROXY header it is the address that the client has connected to there; NetConn has that
// of the socket.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the peer's address. Behind a proxy that sent a PROXY header it is
// the client's; NetConn has the proxy's.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Proxy returns the PROXY header that the connection began with, nil if there was none.
func (c *Conn) Proxy() *ProxyHeader { return c.raw.proxy.Load() }
