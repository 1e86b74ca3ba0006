package conns

import (
	"context"
	"runtime"
	"time"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// Monitor enforces the time limits and records when connections were last active, until ctx ends. A
// supervisor needs it to run once, in a goroutine of its own, while it has connections. It checks
// each connection once a second, more often if a limit is short, and less often if there are so
// many that it would use more than a fiftieth of a core.
func (s *Supervisor) Monitor(ctx context.Context) {
	var batch []*connection
	var rates receiveRates
	requested := 0
	t := time.NewTimer(s.interval())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		begin := s.now()
		set := s.settings.Load()
		for i := range s.shards {
			batch = s.shards[i].snapshot(batch[:0])
			for _, c := range batch {
				if c.check(begin, set, &rates) {
					if requested++; requested%64 == 0 {
						runtime.Gosched() // active connections run before those that are to be parked
					}
				}
			}
			clear(batch) // so that it refers to no ended connection
		}
		rates.endRound()
		s.addresses.prune(begin)
		if shared := s.cfg.Gate.shared; shared != nil {
			shared.prune()
		}
		t.Reset(max(s.interval(), time.Duration(50*(s.now()-begin))))
	}
}

// The longest and the shortest time between two checks of a connection.
const (
	longestInterval  = time.Second
	shortestInterval = 10 * time.Millisecond
)

func (s *Supervisor) interval() time.Duration {
	lim, d := &s.settings.Load().Limits, longestInterval
	if t := lim.shortest(); t > 0 {
		d = min(d, t/8)
	}
	if lim.ParkAfter > 0 {
		d = min(d, lim.ParkAfter)
	}
	return max(d, shortestInterval)
}

// check records the activity of c since the last check, asks it to stop or closes it if it has
// reached a limit, and requests that it be parked if it is idle. It reports whether it has done the
// latter.
func (c *connection) check(now int64, set *Settings, rates *receiveRates) (requested bool) {
	st := c.conn.Stats()
	seen := max(now, c.started+1) // idle takes c.started for "not checked yet"
	_, reads, writes := engine.Of(&c.conn).Throttled()
	waits := reads || writes             // for its turn to transfer bytes: it is not idle
	if st.BytesRead != c.read || waits { // Reads also counts reads that fail at a deadline
		c.read = st.BytesRead
		c.readAt.Store(seen)
	}
	if sent := engine.Of(&c.conn).Progress(); sent != c.written || waits { // BytesWritten grows only when a write returns
		c.written = sent
		c.wroteAt.Store(seen)
	}
	if why := c.flags.stopReason(); why != 0 {
		if time.Duration(now-c.stopAt.Load()) >= set.Grace {
			c.close(why, context.Cause(&c.ctx))
		}
		return false
	}
	if !c.flags.has(flagServing) || c.stopAt.Load() != 0 { // Drain has asked it to stop, and closes it
		return false
	}
	lim := &set.Limits
	why := c.exceeded(now, lim)
	if why == 0 && lim.MinReceiveRate > 0 && rates.tooSlow(c, now, lim.MinReceiveRate) {
		why = ReceivedTooSlowly
	}
	if why != 0 {
		c.stop(why, set.Grace)
		return false
	}
	idleFor := time.Duration(now - c.readAt.Load()) // writes do not count: they need no reader
	if lim.ParkAfter <= 0 || idleFor < lim.ParkAfter {
		return false
	}
	_, parks := c.session.(idle.Session)
	return parks && engine.Of(&c.conn).RequestPark()
}

// exceeded returns the limit that c has reached; 0 if none.
func (c *connection) exceeded(now int64, lim *Limits) Reason {
	read, wrote := c.readAt.Load(), c.wroteAt.Load()
	over := func(limit time.Duration, since int64) bool { return limit > 0 && time.Duration(now-since) >= limit }
	switch {
	case lim.LoginTimeout > 0 && c.loginExpired(now, lim.LoginTimeout):
		return LoginTimeout
	case lim.Lifetime > 0 && time.Duration(now-c.started) >= lim.lifetime(c.conn.ID()):
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
