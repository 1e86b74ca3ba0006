package conns_test

import (
	"slices"

	"pgregory.net/rapid"

	"goranch/conns"
	"goranch/protocol"
)

// RefuseAtCap is what an acceptor does that does not wait for a slot.
func (m *model) RefuseAtCap(*rapid.T) {
	p := m.newPeer()
	p.state = gone
	m.counts.Accepted++
	m.counts.Refused++
	m.counts.Ended[conns.RefusedAtCap]++
	m.ends[p] = fate{Reason: conns.RefusedAtCap}
	m.sup.RefuseAtCap(bg, p.t, p, protocol.Func(serveModel))
}

// Shrink makes room, oldest first, with no grace; those who are ending already do not count.
func (m *model) Shrink(t *rapid.T) {
	n := rapid.IntRange(0, 4).Draw(t, "n")
	var all []*peer
	m.mu.Lock()
	for _, p := range m.live() {
		if p.counted && !p.told && p.fate == 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *peer) int { return int(m.started[a].ID()) - int(m.started[b].ID()) })
	m.mu.Unlock()
	all = all[:max(len(all)-n, 0)]
	for _, p := range all {
		m.abort(p, conns.Evicted)
	}
	if got := m.sup.Shrink(n, conns.EvictOldest); got != len(all) {
		m.Fatalf("%d had to make room for %d, want %d", got, n, len(all))
	}
}
