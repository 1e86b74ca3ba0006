package conns

import (
	"sync/atomic"
	"time"
)

// loginCount counts connections that are in the login phase: served, and not established.
type loginCount struct{ n atomic.Int64 }

// add counts a connection, and reports false if limit connections are counted already. A limit of 0
// or less is none.
func (p *loginCount) add(limit int) bool {
	for n := p.n.Load(); limit <= 0 || n < int64(limit); n = p.n.Load() {
		if p.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (p *loginCount) remove() { p.n.Add(-1) }

// Established implements [transport.Conn.Established].
func (c *connection) Established() {
	if !c.flags.has(flagEstablished) {
		c.flags.set(flagEstablished)
		c.leaveLogin()
	}
}

// enterLogin counts a connection whose protocol is about to be called, or refuses it. Connections
// are counted without a limit too, because a limit can be set later.
//
//go:noinline
func (c *connection) enterLogin() error {
	if c.flags.has(flagEstablished) {
		return nil
	}
	if !c.sup.unestablished.add(c.sup.settings.Load().Limits.MaxUnestablished) {
		return RefusedUnestablished
	}
	shared := c.sup.cfg.Gate.shared
	if shared != nil && !shared.unestablished.add(shared.limits.Load().MaxUnestablished) {
		c.sup.unestablished.remove()
		return RefusedUnestablished
	}
	c.flags.set(flagLogin)
	if c.flags.has(flagEstablished) { // by another goroutine, which may not have seen flagLogin
		c.leaveLogin()
	}
	return nil
}

// leaveLogin ends the login phase of the connection, if it is counted.
func (c *connection) leaveLogin() {
	if !c.flags.clear(flagLogin) {
		return
	}
	c.sup.unestablished.remove()
	if shared := c.sup.cfg.Gate.shared; shared != nil {
		shared.unestablished.remove()
	}
}

// limitsLogin reports whether the login phase is limited. If not, the protocol may be one that
// never calls Established, and the count says nothing.
func (s *Supervisor) limitsLogin() bool {
	l := &s.settings.Load().Limits
	if l.LoginTimeout > 0 || l.MaxUnestablished > 0 {
		return true
	}
	shared := s.cfg.Gate.shared
	return shared != nil && shared.limits.Load().MaxUnestablished > 0
}

// inLogin reports whether the connection is in a login phase that is limited.
func (c *connection) inLogin() bool { return c.flags.has(flagLogin) && c.sup.limitsLogin() }

// loginExpired reports whether the login phase has taken longer than limit, which is more than 0.
func (c *connection) loginExpired(now int64, limit time.Duration) bool {
	served := c.started + int64(c.waited)*int64(time.Microsecond)
	return c.flags.has(flagLogin) && time.Duration(now-served) >= limit
}
