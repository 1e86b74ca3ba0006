package conns

import (
	"context"
	"runtime"
	"time"
)

// Watch looks after the limits of time, and notes when connections were last used, until
// ctx ends. A supervisor needs it to run once, in a goroutine of its own, while it has
// connections. It looks at each connection once a second, more often if a limit is short,
// and less often if there are so many that it would take more than a fiftieth of a core.
func (s *Supervisor) Watch(ctx context.Context) {
	var batch []*connection
	rested := 0
	t := time.NewTimer(s.interval())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		begin := s.now()
		lim := s.limits.Load()
		for i := range s.shards {
			batch = s.shards[i].snapshot(batch[:0])
			for _, c := range batch {
				if c.look(begin, lim) {
					if rested++; rested%64 == 0 {
						runtime.Gosched() // those who work go before those who lie down
					}
				}
			}
			clear(batch) // ended ones are not kept
		}
		s.sources.forget(begin)
		t.Reset(max(s.interval(), time.Duration(50*(s.now()-begin))))
	}
}

// How often Watch looks.
const (
	longestLook  = time.Second
	shortestLook = 10 * time.Millisecond
)

func (s *Supervisor) interval() time.Duration {
	lim, often := s.limits.Load(), longestLook
	if d := lim.shortest(); d > 0 {
		often = min(often, d/8)
	}
	if lim.RestAfter > 0 {
		often = min(often, lim.RestAfter)
	}
	return max(often, shortestLook)
}

// look notes what has happened on c since the last time, ends it if it has exceeded a
// limit, and asks it to rest if nothing happens. It reports whether it has done the last.
func (c *connection) look(now int64, lim *Limits) bool {
	st := c.conn.Stats()
	seen := max(now, c.started+1) // for idle, which takes the beginning for "not seen yet"
	if st.BytesRead != c.read {   // not Reads: one that fails at its deadline is a call too
		c.read = st.BytesRead
		c.readAt.Store(seen)
	}
	if st.BytesWritten != c.written {
		c.written = st.BytesWritten
		c.wroteAt.Store(seen)
	}
	if told := c.told.Load(); told != 0 {
		if time.Duration(now-c.toldAt.Load()) >= lim.Grace {
			c.abort(Reason(told), context.Cause(c.ctx))
		}
		return false
	}
	if !c.serving.Load() {
		return false
	}
	if why := c.exceeds(now, lim); why != 0 {
		c.dismiss(why, lim.Grace)
		return false
	}
	idle := time.Duration(now - c.readAt.Load()) // what is written needs no goroutine that reads
	return c.begun != nil && lim.RestAfter > 0 && idle >= lim.RestAfter && c.conn.Rest()
}

// exceeds returns the limit that c has reached; 0 if none.
func (c *connection) exceeds(now int64, lim *Limits) Reason {
	read, wrote := c.readAt.Load(), c.wroteAt.Load()
	over := func(limit time.Duration, since int64) bool { return limit > 0 && time.Duration(now-since) >= limit }
	switch {
	case lim.Lifetime > 0 && time.Duration(now-c.started) >= lim.life(c.conn.ID()):
		return Expired
	case over(lim.IdleTimeout, read) && over(lim.IdleTimeout, wrote):
		return IdleTimeout
	case over(lim.ReadTimeout, read):
		return ReadTimeout
	case over(lim.WriteTimeout, wrote):
		return WriteTimeout
	}
	return 0
}

// dismiss tells one connection to end for that reason; Watch closes it after grace.
func (c *connection) dismiss(why Reason, grace time.Duration) {
	c.toldAt.CompareAndSwap(0, max(c.sup.now(), 1)) // first, for who sees told; a second call is no second grace
	if !c.told.CompareAndSwap(0, uint32(why)) {
		return
	}
	cause := why.cause()
	if grace <= 0 {
		c.abort(why, cause)
		return
	}
	c.tell(cause)
}
