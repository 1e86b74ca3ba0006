package conns

import (
	"cmp"
	"slices"
	"time"
)

// ring holds the connections that were added last. Each shard has one of full size, under its own
// lock, so that the last connections of all shards are known exactly without a shared lock.
type ring struct {
	all  []Info
	next int
}

// add adds a connection, unless size is negative.
func (r *ring) add(i Info, size int) {
	switch {
	case size < 0:
	case len(r.all) < size:
		r.all = append(r.all, i)
	default:
		r.all[r.next] = i
		r.next = (r.next + 1) % size
	}
}

// closedInfo describes a connection that has ended. c is nil if it was never registered. The
// addresses and the name of a transport come from functions of users, so no lock is held.
func (s *Supervisor) closedInfo(c *connection, end ConnEnd) (i Info) {
	if s.cfg.KeepClosed < 0 {
		return i
	}
	now := time.Now()
	if c != nil {
		i = c.basicInfo(now)
	} else {
		i = Info{
			ID: end.Conn.ID(), Transport: end.Conn.Transport().Name(), Since: now,
			RemoteAddr: end.Conn.RemoteAddr(), LocalAddr: end.Conn.LocalAddr(), Stats: end.Conn.Stats(),
		}
	}
	i.Closed, i.Reason, i.Err = now, end.Reason, end.Err
	return i
}

// RecentlyClosed returns the connections that have ended last, the latest first: at most as many as
// [Config].KeepClosed says.
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
