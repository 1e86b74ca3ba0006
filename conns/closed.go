package conns

import (
	"cmp"
	"slices"
	"time"
)

// ClosedConn is a connection that has ended.
type ClosedConn struct {
	Info   // as it was at the end
	At     time.Time
	Reason Reason
	Err    error // what the protocol, or the handshake, returned
}

// ring holds the connections that were added last. Each shard has one of full size, under its own
// lock, so that the last connections of all shards are known exactly without a shared lock.
type ring struct {
	all  []ClosedConn
	next int
}

func (r *ring) add(e ClosedConn, size int) {
	if len(r.all) < size {
		r.all = append(r.all, e)
		return
	}
	r.all[r.next] = e
	r.next = (r.next + 1) % size
}

// remember adds a connection to the ring of its shard, which is locked. c is nil if the connection
// was never registered.
func (s *Supervisor) remember(sh *shard, c *connection, end ConnEnd) {
	if s.cfg.KeepClosed < 0 {
		return
	}
	now := time.Now()
	e := ClosedConn{At: now, Reason: end.Reason, Err: end.Err}
	if c != nil {
		e.Info = c.basicInfo()
	} else {
		e.Info = Info{
			ID: end.Conn.ID(), Transport: end.Conn.Transport().Name(), Since: now,
			RemoteAddr: end.Conn.RemoteAddr(), LocalAddr: end.Conn.LocalAddr(), Stats: end.Conn.Stats(),
		}
	}
	e.State = StateClosed
	sh.closed.add(e, s.cfg.KeepClosed)
}

// RecentlyClosed returns the connections that have ended last, the latest first: at most as many as
// [Config].KeepClosed says.
func (s *Supervisor) RecentlyClosed() []ClosedConn {
	var all []ClosedConn
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		all = append(all, sh.closed.all...)
		sh.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b ClosedConn) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID))
	})
	return all[:min(len(all), max(s.cfg.KeepClosed, 0))]
}
