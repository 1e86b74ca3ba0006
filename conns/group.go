package conns

import "slices"

// Join makes the gate of a [Shared] take part in the distribution of its slots, until Leave. For
// another gate both do nothing.
//
// interrupt is called when acceptors of the gate have to return from accept and call Cancel. yield
// is called for a pending connection of another gate: it cancels the reservation of an acceptor
// that is in accept, and reports whether there was one. Both are called with no lock held and must
// not wait.
func (g *Gate) Join(interrupt func(), yield func() bool) {
	if g.shared == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.member.joined {
		g.member = member{true, interrupt, yield}
		g.shared.gates = append(g.shared.gates, g)
	}
}

// Leave ends what Join has begun. No goroutine may wait at the gate. Slots in use are still counted
// until they are released.
func (g *Gate) Leave() {
	if g.shared == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.member = member{}
	s := g.shared
	if i := slices.Index(s.gates, g); i >= 0 {
		s.gates = slices.Delete(s.gates, i, i+1)
		if i < s.next {
			s.next--
		}
	}
}

// TakeOver calls yield of other gates, so that their acceptors cancel reservations, while pending
// connections of this gate wait for slots.
func (g *Gate) TakeOver() {
	if g.shared == nil {
		return
	}
	g.mu.Lock()
	others := slices.Clone(g.shared.gates)
	g.mu.Unlock()
	for _, o := range others {
		for o != g && g.canUse(o) && o.member.yield() {
		}
	}
}

// canUse reports whether a pending connection of g could use a reservation of an acceptor of o.
func (g *Gate) canUse(o *Gate) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.pending.empty() && g.belowLimit() && o.member.joined && o.offers() > 0
}

// Wanted reports whether pending connections of other gates wait for slots that acceptors of this
// one have reserved.
func (g *Gate) Wanted() bool {
	return g.shared != nil && g.blocks(func(o *Gate) bool { return !o.pending.empty() })
}

// Starves reports whether another gate has waiting acceptors and no reservation because acceptors
// of this one have reserved slots: then some of these should return from accept and call Cancel.
func (g *Gate) Starves() bool {
	return g.shared != nil && g.blocks(func(o *Gate) bool {
		return o.offers() == 0 && o.reserves.n+o.pending.n > 0
	})
}

// blocks reports whether acceptors of g have reserved slots that another gate could use for which
// waits returns true.
func (g *Gate) blocks(waits func(*Gate) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.offers() > 0 && slices.ContainsFunc(g.shared.gates, func(o *Gate) bool {
		return o != g && o.belowLimit() && waits(o)
	})
}

// The methods below are called with the lock held.

func (s *Shared) over() bool { return s.used+s.reserved > s.limit }

// wake gives the free slots to waiters of all gates, in turn.
func (s *Shared) wake() {
	s.inTurn(func(g *Gate) bool { return g.grant(&g.pending) })
	s.inTurn(func(g *Gate) bool { return g.grant(&g.reserves) })
}

// inTurn calls grant for each gate, beginning with the next, until all have returned false.
func (s *Shared) inTurn(grant func(*Gate) bool) {
	for failed := 0; failed < len(s.gates); {
		i := s.next % len(s.gates)
		s.next = i + 1
		if grant(s.gates[i]) {
			failed = 0
		} else {
			failed++
		}
	}
}
