package conns

import "goranch/protocol"

// Observe has f called with the gate's state after each change of the slots in use,
// under the gate's lock: nothing that lasts a moment only is missed.
func (g *Gate) Observe(f func(GateState)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watchers == nil {
		g.watchers = make(map[*watcher]struct{})
	}
	w := &watcher{ready: make(chan struct{}), ok: func(int) bool {
		f(GateState{
			Limit: g.limit, Used: g.used, Reserved: g.reserved,
			Waiting: g.confirms.n + g.pending.n + g.reserves.n, Peak: g.peak,
		})
		return false
	}}
	g.watchers[w] = struct{}{}
}

// Watchers returns how many wait for a number of slots.
func (g *Gate) Watchers() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.watchers)
}

// CancelOnly is the first half of telling all connections to end: contexts are
// cancelled, reads go on. It stands for a protocol that is quicker than the second half.
func (s *Supervisor) CancelOnly() {
	s.each(func(c *connection) { c.cancel(protocol.ErrShutdown) })
}
