package conns

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Victims says which connections have to make room.
type Victims uint8

const (
	Nobody Victims = iota // connections live on until they end by themselves
	Oldest
	Idlest // those that have carried nothing for the longest time, as far as Watch has seen
	Random
	numVictims
)

var victimNames = [numVictims]string{"nobody", "oldest", "idlest", "random"}

// String returns the name in a word.
func (v Victims) String() string {
	if v < numVictims {
		return victimNames[v]
	}
	return fmt.Sprintf("Victims(%d)", uint8(v))
}

// Valid reports whether v is one of the constants.
func (v Victims) Valid() bool { return v < numVictims }

// Evict tells n connections, among those that are counted and not ending already, to make
// room, and returns how many there were. They are closed after the limits' Grace.
func (s *Supervisor) Evict(n int, v Victims) int {
	return s.evict(v, func(int) int { return n })
}

// Shrink tells as many to make room as there are more than n, those that are ending already
// left aside: it can be repeated, and does nothing then.
func (s *Supervisor) Shrink(n int, v Victims) int {
	return s.evict(v, func(all int) int { return all - n })
}

// evict tells as many as howMany says, of all that can be told.
func (s *Supervisor) evict(v Victims, howMany func(all int) int) int {
	if v == Nobody {
		return 0
	}
	var all []found
	s.each(func(c *connection) {
		if c.counted.Load() && c.ctx.Err() == nil {
			all = append(all, c.found(ByAge))
		}
	})
	for i := range all {
		switch v {
		case Idlest:
			all[i].num = -int64(all[i].c.idle())
		case Random:
			all[i].num = rand.Int64()
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(a.c.conn.ID(), b.c.conn.ID()))
	})
	all = all[:min(max(howMany(len(all)), 0), len(all))]
	grace := s.limits.Load().Grace
	for _, f := range all {
		f.c.dismiss(Evicted, grace)
	}
	return len(all)
}
