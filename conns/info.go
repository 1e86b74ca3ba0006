package conns

import (
	"crypto/tls"
	"net"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// Info describes a connection, live or closed.
type Info struct {
	ID         uint64
	Transport  string
	RemoteAddr net.Addr // the client's, also behind a proxy that names it
	LocalAddr  net.Addr
	Since      time.Time         // when it was accepted
	Idle       time.Duration     // since the last traffic, in whole seconds; 0 once closed
	Served     bool              // the handshake is over and the protocol was called
	Login      bool              // it is in a login phase that is limited; see Limits.LoginTimeout
	Ending     bool              // it was asked to stop
	Counted    bool              // by the cap; false after ranch.RemoveConnection
	Protocol   protocol.Protocol // what it was accepted for
	Stats      transport.Stats
	Labels     []transport.Label // sorted by key; must not be modified
	TLS        *TLSInfo          // nil: plain, in the handshake, or closed

	// Of closed connections; zero while the connection is live.
	Closed time.Time
	Reason Reason
	Err    error // what the protocol, or the handshake, returned
}

// State returns the state in a word: "handshaking", "login", "serving", "ending" or "closed".
func (i *Info) State() string {
	switch {
	case !i.Closed.IsZero():
		return "closed"
	case i.Ending:
		return "ending"
	case i.Login:
		return "login"
	case i.Served:
		return "serving"
	}
	return "handshaking"
}

// TLSInfo describes the TLS state of a connection.
type TLSInfo struct {
	Version    string // "TLS 1.3"
	Cipher     string
	ServerName string // what the client asked for
	ALPN       string // the negotiated protocol
	Client     string // subject of the client's verified certificate
	Resumed    bool
}

func tlsInfo(conn *transport.Conn) *TLSInfo {
	st, ok := conn.TLS()
	if !ok {
		return nil
	}
	t := &TLSInfo{
		Version: tls.VersionName(st.Version), Cipher: tls.CipherSuiteName(st.CipherSuite),
		ServerName: st.ServerName, ALPN: st.NegotiatedProtocol, Resumed: st.DidResume,
	}
	if len(st.VerifiedChains) > 0 {
		t.Client = st.VerifiedChains[0][0].Subject.String()
	}
	return t
}

// origin holds the results of functions of the transport, which may be a user's.
type origin struct {
	transport     string
	remote, local net.Addr
}

// set calls these functions; no lock may be held.
func (o *origin) set(conn *transport.Conn) {
	o.transport, o.remote, o.local = conn.Transport().Name(), conn.RemoteAddr(), conn.LocalAddr()
}

// describe sets i, which is zero, to info without the fields that are expensive. It calls no
// function of a user. It assigns each field, because a composite literal would be built on the
// stack first.
func (c *connection) describe(i *Info, o *origin, now time.Time) {
	i.ID, i.Transport, i.RemoteAddr, i.LocalAddr = c.conn.ID(), o.transport, o.remote, o.local
	i.Since = now.Add(time.Duration(c.started) - now.Sub(c.sup.created)) // correct also after a change of the system's time
	i.Served, i.Counted = c.flags.has(flagServing), c.flags.has(flagCounted)
	i.Login = c.inLogin()
	i.Protocol, i.Stats, i.Labels = c.protocol, c.conn.Stats(), c.conn.Labels()
}

// inspect sets i to the connection at that time.
func (c *connection) inspect(i *Info, now time.Time) {
	*i = Info{}
	var o origin
	o.set(&c.conn)
	c.describe(i, &o, now)
	i.Ending = c.ctx.Err() != nil
	i.Idle = c.idle()
	if engine.Of(&c.conn).HasTLS() {
		i.TLS = tlsInfo(&c.conn)
	}
}

// idle returns the time since the last traffic, in whole seconds, since Monitor records it once a
// second.
func (c *connection) idle() time.Duration {
	read, wrote := c.readAt.Load(), c.wroteAt.Load()
	if st := c.conn.Stats(); read == wrote && read == c.started && st.BytesRead+st.BytesWritten > 0 {
		return 0 // there was traffic that Monitor has not recorded yet
	}
	return max(time.Duration(c.sup.now()-max(read, wrote)), 0).Truncate(time.Second)
}
