package conns

import (
	"sync/atomic"
	"time"
)

// places counts connections that are served and not established.
type loginCount struct{ n atomic.Int64 }

// take takes a place, and reports false if limit are taken already. 0 or less is no limit.
func (p *loginCount) take(limit int) bool {
	for n := p.n.Load(); limit <= 0 || n < int64(limit); n = p.n.Load() {
		if p.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (p *loginCount) release() { p.n.Add(-1) }

// Established implements [transport.Conn.Established].
func (c *connection) Established() {
	if !c.flags.has(flagEstablished) {
		c.flags.set(flagEstablished)
		c.leaveLogin()
	}
}

// enterLogin takes a place for a connection whose protocol is about to be called. Places are counted
// without a limit too, because one can be set later.
//
//go:noinline
func (c *connection) enterLogin() error {
	if c.flags.has(flagEstablished) {
		return nil
	}
	if !c.sup.unestablished.take(c.sup.settings.Load().Limits.MaxUnestablished) {
		return RefusedUnestablished
	}
	shared := c.sup.cfg.Gate.shared
	if shared != nil && !shared.unestablished.take(shared.limits.Load().MaxUnestablished) {
		c.sup.unestablished.release()
		return RefusedUnestablished
	}
	c.flags.set(flagLogin)
	if c.flags.has(flagEstablished) { // by another goroutine, which may not have seen flagLogin
		c.leaveLogin()
	}
	return nil
}

// leaveLogin releases the place of the connection, if it has one.
func (c *connection) leaveLogin() {
	if !c.flags.clear(flagLogin) {
		return
	}
	c.sup.unestablished.release()
	if shared := c.sup.cfg.Gate.shared; shared != nil {
		shared.unestablished.release()
	}
}

// limitsLogin reports whether the login phase is limited. Otherwise the protocol may be one that has
// none.
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
