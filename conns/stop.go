package conns

import (
	"sync/atomic"
	"time"

	"goranch/protocol"
)

// reasons are why a connection was asked to stop, and why it was closed, in one word to save
// memory. Only the first of each kind counts.
type reasons struct{ bits atomic.Uint32 }

const (
	stopShift  = 0 // a limit, an eviction or End
	closeShift = 8 // Killed, Aborted or the stop reason
)

// stop returns the reason for which the connection was asked to stop; 0: none.
func (r *reasons) stop() Reason { return Reason(r.bits.Load() >> stopShift) }

// close returns the reason for which the connection was closed; 0: none.
func (r *reasons) close() Reason { return Reason(r.bits.Load() >> closeShift) }

// set sets a reason, and reports whether it was not set before.
func (r *reasons) set(shift int, why Reason) bool {
	for {
		old := r.bits.Load()
		if Reason(old>>shift) != 0 {
			return false
		}
		if r.bits.CompareAndSwap(old, old|uint32(why)<<shift) {
			return true
		}
	}
}

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

// stop asks c to stop for that reason, and reports whether it was not asked before. Monitor closes
// it after grace; without a grace it is closed at once. Only the first call has an effect.
func (c *connection) stop(why Reason, grace time.Duration) bool {
	c.stopAt.CompareAndSwap(0, max(c.sup.now(), 1)) // before the reason, which Monitor reads first
	if !c.reasons.set(stopShift, why) {
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
// still work. When the listener stops, a Drainer goes on reading.
func (c *connection) requestStop(cause error) {
	c.cancel(cause)
	if _, drains := c.protocol.(protocol.Drainer); !drains || cause != protocol.ErrShutdown {
		c.conn.StopReading(cause)
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
	c.reasons.set(closeShift, why)
	c.cancel(cause)
	abort(&c.conn)
}
