package conns

import (
	"cmp"
	"slices"
	"time"

	"goranch/transport"
)

// ring holds the connections that were added last. Each shard has one of full size, under its own
// lock, so that the last connections of all shards are known exactly without a shared lock.
type ring struct {
	all  []Info
	next int
}

// slot returns the place of the next connection, which is zero; nil if size is negative.
func (r *ring) slot(size int) *Info {
	if size < 0 {
		return nil
	}
	if len(r.all) < size {
		r.all = append(r.all, Info{})
		return &r.all[len(r.all)-1]
	}
	i := &r.all[r.next]
	r.next = (r.next + 1) % size
	*i = Info{}
	return i
}

// addClosed adds a connection that has ended to the ring of its shard, whose lock the caller holds.
// c is nil if it was never registered. The entry is written in place: a copy on the stack would
// make the stack of most connections grow when they end.
func (s *Supervisor) addClosed(sh *shard, c *connection, conn *transport.Conn, why Reason, err error, o *origin, now time.Time) {
	i := sh.closed.slot(s.cfg.KeepClosed)
	if i == nil {
		return
	}
	if c != nil {
		c.describe(i, o, now)
		i.Ending = true // its context has ended; ctx.Err would need much stack
	} else {
		i.ID, i.Transport, i.RemoteAddr, i.LocalAddr = conn.ID(), o.transport, o.remote, o.local
		i.Since, i.Stats = now, conn.Stats()
	}
	i.Closed, i.Reason, i.Err = now, why, err
}

// RecentlyClosed returns the most recently closed connections, at most [Config].KeepClosed, the
// latest first.
func (s *Supervisor) RecentlyClosed() []Info {
	var all []Info
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		all = append(all, sh.closed.all...)
		sh.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(b.Closed.Compare(a.Closed), cmp.Compare(b.ID, a.ID))
	})
	return all[:min(len(all), max(s.cfg.KeepClosed, 0))]
}
