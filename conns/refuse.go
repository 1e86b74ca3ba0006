package conns

import (
	"context"
	"errors"
	"net"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

const (
	// maxRejecting is how many connections of a supervisor that are refused because of their
	// address may be sent a rejection message at once. Others are closed without one.
	maxRejecting = 256
	// rejectTime is how long a protocol may take to send a rejection message.
	rejectTime = time.Second
)

// closeRefused closes a connection that is refused because of its address, or after its handshake:
// by a reset, if the rule that denies it says so, or with the rejection message of its protocol.
// Its error is in c.err.
//
//go:noinline
func (c *connection) closeRefused() {
	var b *bannedError
	if errors.As(c.err, &b) && b.rule.Reset {
		resetConn(&c.conn)
		return
	}
	why := reasonOf(c.err)
	if why != Banned && !why.Refusal() {
		return
	}
	if r := refuserOf(c.protocol); r != nil && (why == RefusedUnestablished || sendsPlain(c.conn.Transport())) {
		c.reject(r, why)
	}
}

// refuserOf returns p if it sends rejection messages; else nil.
func refuserOf(p protocol.Protocol) protocol.Refuser {
	if c, ok := p.(interface{ Refuses() bool }); ok && !c.Refuses() {
		return nil
	}
	r, _ := p.(protocol.Refuser)
	return r
}

// reject calls the protocol to send its rejection message. The slot is released before, so that a
// refused client that does not read cannot occupy it.
func (c *connection) reject(r protocol.Refuser, why Reason) {
	defer c.sup.rejecting.Add(-1)
	if c.sup.rejecting.Add(1) > maxRejecting {
		return
	}
	c.Uncount()
	ctx, cancel := context.WithTimeout(&c.ctx, rejectTime)
	defer cancel()
	c.sup.sendRejection(ctx, &c.conn, r, why)
}

// sendRejection calls the protocol's Refuse and closes conn; when ctx ends, it closes conn at once.
// It ignores a panic of Refuse, because the connection is refused in any case.
func (s *Supervisor) sendRejection(ctx context.Context, conn *transport.Conn, r protocol.Refuser, why Reason) {
	defer context.AfterFunc(ctx, func() { abort(conn) })()
	defer func() { _ = recover() }()
	if why != RefusedAtCap || s.rejectionHandshake(ctx, conn) == nil { // others need no handshake, or have completed it
		r.Refuse(ctx, conn, why)
		conn.StopReading(why) // Close then drains: unread data would reset the message
		conn.Close()
	}
}

// rejectionHandshake runs the handshake that precedes a rejection message, within MaxHandshakes.
func (s *Supervisor) rejectionHandshake(ctx context.Context, conn *transport.Conn) error {
	if !engine.Plain(conn.Transport()) {
		if err := s.handshakes.Reserve(ctx); err != nil {
			return err
		}
		defer s.handshakes.Cancel()
	}
	return conn.Handshake(ctx)
}

// sendsPlain reports whether payload can be sent without a handshake of t, or after that of a PROXY
// header.
func sendsPlain(t transport.Transport) bool {
	for {
		if engine.Plain(t) {
			return true
		}
		u, ok := t.(transport.Unwrapper)
		if !ok || t.Secure() {
			return false
		}
		t = u.Unwrap()
	}
}

// resetConn closes the socket so that TCP sends a reset.
func resetConn(conn *transport.Conn) {
	defer func() { _ = recover() }() // of the transport's Close
	nc := conn.NetConn()
	if l, ok := nc.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0)
	}
	nc.Close()
}

// Refuse closes nc, which was accepted on a listener of t but has no slot, and counts it as why:
// [Refused] or [RefusedAtCap]. In the latter case p may send a rejection message until ctx ends,
// if it is a [protocol.Refuser].
func (s *Supervisor) Refuse(ctx context.Context, why Reason, t transport.Transport, nc net.Conn, p protocol.Protocol) {
	conn := transport.NewConn(t, nc)
	defer s.refuse(conn, why) // also if the protocol ends this goroutine
	if r := refuserOf(p); r != nil && why == RefusedAtCap && ctx.Err() == nil {
		s.sendRejection(ctx, conn, r, RefusedAtCap)
	}
}

func (s *Supervisor) refuse(conn *transport.Conn, why Reason) {
	abort(conn)
	sh := s.shard(conn)
	end := ConnEnd{Conn: conn, Reason: why, Err: why}
	if why == Refused {
		end.Err = protocol.ErrShutdown
	}
	var o origin
	o.set(conn)
	st, now := conn.Stats(), time.Now()
	sh.mu.Lock()
	sh.counts.BytesRead += st.BytesRead
	sh.counts.BytesWritten += st.BytesWritten
	sh.counts.Accepted++
	sh.counts.Refused++
	sh.counts.Ended[why]++
	s.addClosed(sh, nil, conn, why, end.Err, &o, now)
	sh.mu.Unlock()
	if s.cfg.Ended != nil {
		s.cfg.Ended(end)
	}
}
