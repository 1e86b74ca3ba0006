package conns

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// EvictionPolicy says which connections are evicted when the cap is lowered.
type EvictionPolicy uint8

const (
	EvictNone     EvictionPolicy = iota // none is evicted
	EvictOldest                         // the first accepted
	EvictMostIdle                       // the longest without traffic, to the second
	EvictRandom
	numPolicies
)

var policyNames = [numPolicies]string{"none", "oldest", "most-idle", "random"}

// String returns "none", "oldest", "most-idle" or "random".
func (p EvictionPolicy) String() string {
	if p < numPolicies {
		return policyNames[p]
	}
	return fmt.Sprintf("EvictionPolicy(%d)", uint8(p))
}

// ParseEvictionPolicy parses the names that String returns, and their former names "nobody" (none)
// and "idlest" (most-idle).
func ParseEvictionPolicy(s string) (EvictionPolicy, error) {
	switch s {
	case "nobody":
		s = "none"
	case "idlest":
		s = "most-idle"
	}
	if i := slices.Index(policyNames[:], s); i >= 0 {
		return EvictionPolicy(i), nil
	}
	return 0, fmt.Errorf("eviction policy %q: allowed are %q", s, policyNames)
}

// Evict asks connections to stop and returns how many it has asked. They are closed after the Grace
// of the settings. howMany is called with the number of connections that can be evicted, those that
// are counted by the cap and were not asked to stop before, and returns how many of them to evict.
func (s *Supervisor) Evict(p EvictionPolicy, howMany func(candidates int) int) int {
	if p == EvictNone {
		return 0
	}
	var all []sortable
	s.each(func(c *connection) {
		if c.counted.Load() && c.ctx.Err() == nil {
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
