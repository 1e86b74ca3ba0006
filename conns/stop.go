package conns

import (
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
)

// End asks the connections that q selects to stop, and returns how many; those that were asked
// before are not counted. Their contexts are cancelled with [EndRequested] as the cause, and their
// reads fail, while writes still work. Monitor closes them after the Grace of the settings; without
// a grace they are closed at once.
func (s *Supervisor) End(q Query) int {
	found, _ := s.find(&q)
	grace := s.settings.Load().Grace
	n := 0
	for _, f := range found {
		if f.c.stop(EndRequested, grace) {
			n++
		}
	}
	return n
}

// Kill closes the connections that q selects at once, and returns how many. Their contexts are
// cancelled with [Killed] as the cause.
func (s *Supervisor) Kill(q Query) int {
	found, _ := s.find(&q)
	for _, f := range found {
		f.c.close(Killed, Killed)
	}
	return len(found)
}

// stop asks c to stop for that reason, and reports whether it was not asked before. Monitor closes
// it after grace; without a grace it is closed at once. Only the first call has an effect.
func (c *connection) stop(why Reason, grace time.Duration) bool {
	c.stopAt.CompareAndSwap(0, max(c.sup.now(), 1)) // before the reason, which Monitor reads first
	if !c.flags.setStopReason(why) {
		return false
	}
	if grace <= 0 {
		c.close(why, why)
	} else {
		c.requestStop(why)
	}
	return true
}

// requestStop asks the protocol to stop: its context is cancelled and its reads fail, while writes
// still work. When the listener stops, a Drainer continues to read.
func (c *connection) requestStop(cause error) {
	c.ctx.end(cause)
	if _, drains := c.protocol.(protocol.Drainer); !drains || cause != protocol.ErrShutdown {
		c.conn.StopReading(cause)
	}
	c.notifyHandover()
}

// notifyHandover notifies the session of a connection that may be handed over that its context was
// cancelled.
func (c *connection) notifyHandover() {
	if c.flags.has(flagServing) { // else Run finds the context cancelled
		if h, ok := c.session.(engine.Handover); ok {
			h.Stop()
		}
	}
}

// shutDown asks c to stop because the listener does, and reports whether it was not asked before.
func (c *connection) shutDown() bool {
	first := c.stopAt.CompareAndSwap(0, max(c.sup.now(), 1))
	c.requestStop(protocol.ErrShutdown)
	return first
}

// close closes the connection at once.
func (c *connection) close(why Reason, cause error) {
	c.flags.setCloseReason(why)
	c.ctx.end(cause)
	abort(&c.conn)
	c.notifyHandover()
}
