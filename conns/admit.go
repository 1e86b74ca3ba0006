package conns

import (
	"context"
	"errors"
	"time"

	"goranch/internal/engine"
	"goranch/internal/remoteip"
	"goranch/protocol"
	"goranch/transport"
)

const (
	// maxRejecting is how many connections of a supervisor that are refused because of their address
	// may be sent a rejection message at once. Others are closed without one.
	maxRejecting = 256
	// rejectTime is how long a protocol may take to send a rejection message.
	rejectTime = time.Second
)

// Tables in which the address of a connection is counted.
const (
	inOwn    = 1 << iota // that of its supervisor
	inShared             // that of the group
)

// admit reports the start of the connection, and applies the rules of networks and the limits per
// address to the source address of the socket. Behind a proxy, admitClient applies them when the
// client's address is known.
func (c *connection) admit() error {
	c.sup.applyTraces(c)
	if c.sup.cfg.Started != nil {
		c.sup.cfg.Started(&c.conn)
	}
	if c.behindProxy() {
		return nil
	}
	return c.admitAddress()
}

// admitClient admits the client of a proxy, after the PROXY header was read.
func (c *connection) admitClient() error {
	if h := c.conn.Proxy(); h != nil {
		c.sup.applyTraces(c) // the remote address has changed to that of the client
		if h.Source == nil {
			return nil // the proxy itself is the client
		}
	}
	if err := c.admitAddress(); err != nil {
		return err
	}
	return c.callAdmit()
}

// admitAddress admits or refuses the client at the remote address.
func (c *connection) admitAddress() error {
	set := c.sup.settings.Load()
	own := addressLimits{set.Limits.PerAddress, set.Limits.AddressRate}
	if shared := c.sup.cfg.Gate.shared; shared == nil && set.Networks == nil && !own.any() {
		return nil
	}
	return c.applyRules(set.Networks, own)
}

// applyRules is the part of admitAddress that most servers do not need. It is not inlined, so that
// their connections need less stack.
//
//go:noinline
func (c *connection) applyRules(n *Networks, own addressLimits) error {
	ip := remoteip.Of(c.conn.RemoteAddr())
	if !ip.IsValid() {
		return nil
	}
	var group addressLimits
	shared := c.sup.cfg.Gate.shared
	if shared != nil {
		l := shared.limits.Load()
		group = addressLimits{l.PerAddress, l.AddressRate}
	}
	rule := n.find(ip)
	if rule != nil {
		if rule.Deny {
			return &bannedError{rule}
		}
		if rule.Exempt {
			return nil
		}
		own = own.replaced(rule)
		if group.any() {
			group = group.replaced(rule)
		}
	}
	if !own.any() && !group.any() {
		return nil
	}
	return c.countAddress(keyOf(ip, rule), own, group)
}

// countAddress counts the connection in the tables that have a limit.
func (c *connection) countAddress(key addressKey, own, group addressLimits) error {
	if own.any() {
		a, err := c.sup.addresses.add(key, own, c.sup.now())
		if err != nil {
			return err
		}
		c.address, c.countedIn = a, inOwn
	}
	if !group.any() {
		return nil
	}
	shared := c.sup.cfg.Gate.shared
	a, err := shared.addresses.add(key, group, shared.now())
	if err != nil {
		c.uncountAddress()
		return err
	}
	if c.address == nil {
		c.address = a
	}
	c.countedIn |= inShared
	return nil
}

// uncountAddress undoes countAddress.
func (c *connection) uncountAddress() {
	if c.countedIn&inOwn != 0 {
		c.sup.addresses.remove(c.address.key, c.sup.now())
	}
	if c.countedIn&inShared != 0 {
		shared := c.sup.cfg.Gate.shared
		shared.addresses.remove(c.address.key, shared.now())
	}
	c.address, c.countedIn = nil, 0
}

// bannedError names the rule that denies a connection.
type bannedError struct{ rule *NetworkRule }

func (e *bannedError) Error() string {
	s := "banned: the rule for " + e.rule.Prefix.String() + " denies the address"
	if e.rule.Reason != "" {
		s += ": " + e.rule.Reason
	}
	return s
}

func (e *bannedError) Unwrap() error { return Banned }

// closeRefused closes a connection that is refused because of its address, or after its handshake: by a
// reset, if the rule that denies it says so, or with the rejection message of its protocol. Its
// error is in c.err.
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

// sendRejection calls the protocol's Refuse and closes conn; when ctx ends, it closes conn at once. It
// ignores a panic of Refuse, because the connection is refused in any case.
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

// CloseBanned closes the live connections whose address a rule of Settings.Networks denies, at once
// and for the reason [Banned], and returns how many. Connections whose PROXY header has not been
// read are checked when it is.
func (s *Supervisor) CloseBanned() (n int) {
	networks := s.settings.Load().Networks
	if networks.Len() == 0 {
		return 0
	}
	s.each(func(c *connection) {
		if c.closeIfBanned(networks) {
			n++
		}
	})
	return n
}

// closeIfBanned closes the connection if a rule denies its client, and reports whether it did.
func (c *connection) closeIfBanned(n *Networks) bool {
	addr, h := c.conn.RemoteAddr(), c.conn.Proxy()
	switch {
	case h != nil && h.Source == nil:
		return false
	case h == nil && !c.flags.has(flagServing) && c.behindProxy(): // begin checks the client when it is known
		return false
	}
	rule := n.find(remoteip.Of(addr))
	if rule == nil || !rule.Deny || c.flags.closeReason() != 0 {
		return false
	}
	c.close(Banned, Banned)
	return true
}

func (c *connection) behindProxy() bool {
	return engine.BehindProxy(c.conn.Transport(), c.conn.NetConn().RemoteAddr())
}
