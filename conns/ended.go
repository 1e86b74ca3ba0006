package conns

import (
	"cmp"
	"slices"
	"time"
)

// DefaultKeepEnded is how many connections are remembered after their end.
const DefaultKeepEnded = 100

// Ended is a connection that is gone.
type Ended struct {
	Info   // as it was at the end
	At     time.Time
	Reason Reason
	Err    error // what the protocol, or the handshake, returned
	Served bool  // the protocol was called
}

// ring holds the last that were added to it. Each shard has one of full size, under its own
// lock, so that the last of all can be told exactly with no lock shared by all.
type ring struct {
	all  []Ended
	next int
}

func (r *ring) add(e Ended, size int) {
	if len(r.all) < size {
		r.all = append(r.all, e)
		return
	}
	r.all[r.next] = e
	r.next = (r.next + 1) % size
}

// remember keeps what is to be known of a connection; c is nil if it was never registered.
// The shard is locked.
func (s *Supervisor) remember(sh *shard, c *connection, end End) {
	if s.cfg.KeepEnded < 0 {
		return
	}
	now := time.Now()
	e := Ended{At: now, Reason: end.Reason, Err: end.Err, Served: end.Served}
	if c != nil {
		e.Info = c.brief()
	} else {
		e.Info = Info{
			ID: end.Conn.ID(), Transport: end.Conn.Transport().Name(), Since: now,
			RemoteAddr: end.Conn.RemoteAddr(), LocalAddr: end.Conn.LocalAddr(), Stats: end.Conn.Stats(),
		}
	}
	e.State = Closed
	sh.ended.add(e, s.cfg.KeepEnded)
}

// Ended returns the connections that have ended last, the latest first: at most as many as
// [Config].KeepEnded says.
func (s *Supervisor) Ended() []Ended {
	var all []Ended
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		all = append(all, sh.ended.all...)
		sh.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Ended) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return cmp.Compare(b.ID, a.ID)
	})
	return all[:min(len(all), max(s.cfg.KeepEnded, 0))]
}
