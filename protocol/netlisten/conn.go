package netlisten

import (
	"crypto/tls"
	"net"

	"goranch/internal/engine"
	"goranch/transport"
)

// Conn is an accepted connection: everything that a [transport.Conn] is, sendfile
// included. It gives its slot back when it is closed; closing the one below is not enough.
type Conn struct {
	*transport.Conn
	left func()
}

// TransportConn returns the connection of goranch, for [transport.Of].
func (c *Conn) TransportConn() *transport.Conn { return c.Conn }

// Close closes the connection. Calling it again does nothing.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.left()
	return err
}

// tlsConn has a TLS state to tell, which on a plain connection net/http would take for one.
type tlsConn struct{ *Conn }

func (c tlsConn) ConnectionState() tls.ConnectionState {
	state, _ := c.TLS()
	return state
}

// wrap returns conn as Accept returns it; left is called when it was closed.
func wrap(conn *transport.Conn, left func()) net.Conn {
	c := &Conn{conn, left}
	state, secure := conn.TLS()
	if !secure {
		return c
	}
	if state.NegotiatedProtocol == "h2" {
		if tc := engine.Of(conn).TLSConn(left); tc != nil {
			return tc
		}
	}
	return tlsConn{c}
}
