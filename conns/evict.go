package conns

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// EvictionPolicy says which connections are evicted when the cap is lowered. The empty policy is
// [EvictNone].
type EvictionPolicy string

const (
	EvictNone     EvictionPolicy = "none"      // none is evicted
	EvictOldest   EvictionPolicy = "oldest"    // the first accepted
	EvictMostIdle EvictionPolicy = "most-idle" // the longest without traffic, to the second
	EvictRandom   EvictionPolicy = "random"
)

// Evict asks connections to stop and returns how many it has asked. They are closed after the Grace
// of the settings. howMany is called with the number of connections that can be evicted, those that
// are counted by the cap and were not asked to stop before, and returns how many of them to evict.
func (s *Supervisor) Evict(p EvictionPolicy, howMany func(candidates int) int) int {
	if p == EvictNone || p == "" {
		return 0
	}
	var all []sortable
	s.each(func(c *connection) {
		if c.flags.has(flagCounted) && c.ctx.Err() == nil {
			all = append(all, c.sortable(ByAge))
		}
	})
	for i := range all {
		switch p {
		case EvictMostIdle:
			all[i].num = -int64(all[i].c.idle())
		case EvictRandom:
			all[i].num = rand.Int64()
		}
	}
	slices.SortFunc(all, func(a, b sortable) int {
		return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(a.c.conn.ID(), b.c.conn.ID()))
	})
	all = all[:min(max(howMany(len(all)), 0), len(all))]
	grace := s.settings.Load().Grace
	for _, f := range all {
		f.c.stop(Evicted, grace)
	}
	return len(all)
}
