package accesslog

import (
	"crypto/x509"
	"net"
	"time"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/ranch"
	"goranch/transport"
)

// entry is the data of a line. It does not refer to the connection, whose memory can be freed
// before the line is written. The writing goroutine formats it: formatting would grow the stack of
// the goroutine of the connection.
type entry struct {
	transport      string
	peer, local    net.Addr
	tls            *tlsState // nil: no handshake has succeeded
	ref            string
	id             uint64
	at             int64 // Unix time in nanoseconds
	duration       time.Duration
	received, sent uint64
	labels         []transport.Label
	err            error
	reason         conns.Reason
	served         bool
}

// tlsState is the part of a tls.ConnectionState that a line has.
type tlsState struct {
	version, cipher uint16
	sni, alpn       string
	client          *x509.Certificate // verified; nil: none
}

// record queues the line for the end of a connection. It needs so little stack that most
// connections end without growing theirs: see conns.connection.report.
//
//go:noinline
func (l *Log) record(e *ranch.Event) {
	// These may be functions of a user, so no lock is held.
	transport, peer, local := e.Conn.Transport().Name(), e.Conn.RemoteAddr(), e.Conn.LocalAddr()
	var tls *tlsState
	if engine.Of(e.Conn).HasTLS() {
		tls = tlsStateOf(e.Conn)
	}
	at := time.Now().UnixNano()
	l.mu.Lock()
	n := l.next()
	if n == nil {
		l.stats.Dropped++
		l.mu.Unlock()
		return
	}
	n.transport, n.peer, n.local, n.tls, n.at = transport, peer, local, tls, at
	n.set(e)
	l.mu.Unlock()
}

// next appends to l.pending and returns the new element, or nil if the limit is reached.
func (l *Log) next() *entry {
	n := len(l.pending)
	if l.closed || l.writing+n >= l.max {
		return nil
	}
	if n == cap(l.pending) {
		l.grow()
	}
	l.pending = l.pending[:n+1]
	if n == 0 {
		signal(l.work)
	}
	if n+1 == batchLines {
		signal(l.early)
	}
	return &l.pending[n]
}

// grow increases the capacity of l.pending.
func (l *Log) grow() {
	l.pending = append(make([]entry, 0, min(max(batchLines, 2*len(l.pending)), l.max)), l.pending...)
}

func tlsStateOf(c *transport.Conn) *tlsState {
	s, ok := c.TLS()
	if !ok || !s.HandshakeComplete {
		return nil
	}
	t := &tlsState{version: s.Version, cipher: s.CipherSuite, sni: s.ServerName, alpn: s.NegotiatedProtocol}
	if len(s.VerifiedChains) > 0 {
		t.client = s.VerifiedChains[0][0]
	}
	return t
}

// set assigns each field, because a composite literal would be built on the stack first.
func (n *entry) set(e *ranch.Event) {
	st := e.Conn.Stats()
	n.ref, n.id, n.duration = e.Ref, e.Conn.ID(), e.Duration
	n.received, n.sent, n.labels = st.BytesRead, st.BytesWritten, e.Conn.Labels()
	n.err, n.reason, n.served = e.Err, e.Reason, e.Served
}
