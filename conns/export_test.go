package conns

import (
	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// For tests of the public API, which are in another package.
const StuckGrace = stuckGrace

var (
	ReasonOf = reasonOf
	BucketOf = bucketOf
)

// Observe has f called with the gate's state after each change of the slots in use, under the
// gate's lock: no state is missed, however short it lasts.
func (g *Gate) Observe(f func(GateState)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watchers == nil {
		g.watchers = make(map[*watcher]struct{})
	}
	w := &watcher{ready: make(chan struct{}), ok: func(int) bool {
		f(g.state())
		return false
	}}
	g.watchers[w] = struct{}{}
}

// Watchers returns how many calls of Wait are waiting.
func (g *Gate) Watchers() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.watchers)
}

// CancelOnly is the first half of requestStop for all connections: contexts are cancelled, reads
// go on. It stands for a protocol that returns before the second half.
func (s *Supervisor) CancelOnly() {
	s.each(func(c *connection) { c.ctx.end(protocol.ErrShutdown) })
}

// Remove is ranch.RemoveConnection, which package ranch tests.
func Remove(conn *transport.Conn) {
	if c, ok := engine.Of(conn).Owner().(*connection); ok {
		c.Uncount()
	}
}
