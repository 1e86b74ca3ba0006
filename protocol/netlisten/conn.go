package netlisten

import (
	"crypto/tls"
	"net"

	"goranch/internal/engine"
	"goranch/transport"
)

// conn is an accepted connection. It releases its slot when it is closed. It has all methods of
// transport.Conn, so that net/http finds ReadFrom and uses sendfile.
type conn struct {
	*transport.Conn
	release func()
}

// TransportConn returns the connection for [transport.Of].
func (c *conn) TransportConn() *transport.Conn { return c.Conn }

// Close closes the connection. Calling it again does nothing.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// stateConn is a conn with TLS that cannot be passed on as a *tls.Conn. net/http takes a connection
// with the method ConnectionState for a TLS connection.
type stateConn struct{ *conn }

func (c stateConn) ConnectionState() tls.ConnectionState {
	state, _ := c.TLS()
	return state
}

// wrap returns tc as Accept returns it. Nothing else uses tc from then on. release is called when that is closed.
func wrap(tc *transport.Conn, release func()) net.Conn {
	c := &conn{tc, release}
	if _, secure := tc.TLS(); !secure {
		return c
	}
	if inner := engine.Of(tc).TLSConn(release); inner != nil {
		return inner
	}
	return stateConn{c}
}
