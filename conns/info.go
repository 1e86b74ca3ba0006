package conns

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// State is the state of a connection.
type State uint8

const (
	StateHandshaking State = iota // accepted; its protocol was not called yet
	StateServing
	StateEnding // asked to stop
	StateClosed
)

// String returns "handshaking", "serving", "ending" or "closed".
func (s State) String() string {
	return [...]string{"handshaking", "serving", "ending", "closed"}[s&3]
}

// Info describes a connection.
type Info struct {
	ID         uint64
	Transport  string
	RemoteAddr net.Addr // the client's, also behind a proxy that names it
	LocalAddr  net.Addr
	State      State
	Since      time.Time         // when it was accepted
	Idle       time.Duration     // since the last traffic, in whole seconds
	Served     bool              // the handshake is over and the protocol was called
	Counted    bool              // by the cap; false after ranch.RemoveConnection
	Protocol   protocol.Protocol // what it was accepted for
	Stats      transport.Stats
	TLS        *TLSInfo // nil: plain, in the handshake, or closed
}

// Age returns how long ago the connection was accepted.
func (i *Info) Age() time.Duration { return time.Since(i.Since) }

// ProtocolName returns the result of the protocol's method Name() string, or its type if it has none.
func (i *Info) ProtocolName() string {
	switch p := i.Protocol.(type) {
	case nil:
		return ""
	case interface{ Name() string }:
		return p.Name()
	default:
		return fmt.Sprintf("%T", p)
	}
}

// TLSInfo describes the TLS of a connection.
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

// basicInfo is info without the fields that are expensive.
func (c *connection) basicInfo() Info {
	return Info{
		ID: c.conn.ID(), Transport: c.conn.Transport().Name(),
		RemoteAddr: c.conn.RemoteAddr(), LocalAddr: c.conn.LocalAddr(),
		State: c.state(), Since: time.Now().Add(-c.age()), Served: c.serving.Load(), Counted: c.counted.Load(),
		Protocol: c.protocol, Stats: c.conn.Stats(),
	}
}

func (c *connection) info() Info {
	i := c.basicInfo()
	i.Idle = c.idle()
	i.TLS = tlsInfo(&c.conn)
	return i
}

func (c *connection) state() State {
	switch {
	case c.ctx.Err() != nil:
		return StateEnding
	case c.serving.Load():
		return StateServing
	}
	return StateHandshaking
}

// idle returns the time since the last traffic, in the whole seconds that Monitor can tell.
func (c *connection) idle() time.Duration {
	read, wrote := c.readAt.Load(), c.wroteAt.Load()
	if st := c.conn.Stats(); read == wrote && read == c.started && st.BytesRead+st.BytesWritten > 0 {
		return 0 // it had traffic, which Monitor has not seen yet
	}
	return max(time.Duration(c.sup.now()-max(read, wrote)), 0).Truncate(time.Second)
}
