package relay

import (
	"slices"
	"time"
)

// upstream is the state of an upstream. The lock of its Relay guards all fields but addr.
type upstream struct {
	addr string   // does not change
	cfg  Upstream // as configured, with defaults

	sessions map[*session]struct{} // relayed connections
	dialing  int                   // attempts to connect
	turn     int                   // for round robin, see pick

	// Counters; sent and received are those of ended connections.
	total          uint64
	sent, received uint64
	failures       [numFailures]uint64
	lastErr        string
	lastErrAt      time.Time

	// Passive health.
	failed      int       // failures since failedSince
	failedSince time.Time // begin of the window
	outUntil    time.Time // not used until then

	// Health checks.
	down      bool
	streak    int // consecutive checks with another result than down says
	checkedAt time.Time
}

func newUpstream(addr string) *upstream {
	return &upstream{addr: addr, sessions: map[*session]struct{}{}}
}

// live returns the number of connections that MaxConnections limits.
func (u *upstream) live() int { return len(u.sessions) + u.dialing }

// pick selects an upstream that was not tried for the connection before, and counts an attempt to
// connect to it. It returns nil if there is none.
//
// Upstreams that are out are used only if there are no others, the one first that returns first. Of
// the rest, the one with the fewest connections per weight is used. Ties are resolved by smooth
// weighted round robin: each gains its weight, and the one with the most is used and loses what all
// have gained.
func (r *Relay) pick(tried []*upstream) *upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var least *upstream
	for _, u := range r.upstreams {
		if u.usable() && !slices.Contains(tried, u) && (least == nil || u.compare(least, now) < 0) {
			least = u
		}
	}
	if least == nil {
		return nil
	}
	var best *upstream
	gained := 0
	for _, u := range r.upstreams {
		if !u.usable() || slices.Contains(tried, u) || u.compare(least, now) != 0 {
			continue
		}
		u.turn += u.cfg.Weight
		gained += u.cfg.Weight
		if best == nil || u.turn > best.turn {
			best = u
		}
	}
	best.turn -= gained
	best.dialing++
	return best
}

// usable reports whether a connection may be forwarded to u.
func (u *upstream) usable() bool { return !u.down && u.live() < u.cfg.MaxConnections }

// compare returns a negative number if u goes before o.
func (u *upstream) compare(o *upstream, now time.Time) int {
	uOut, oOut := u.outUntil.After(now), o.outUntil.After(now)
	switch {
	case uOut && oOut:
		return u.outUntil.Compare(o.outUntil)
	case uOut:
		return 1
	case oOut:
		return -1
	}
	return u.live()*o.cfg.Weight - o.live()*u.cfg.Weight
}

// dialFailed ends an attempt to connect to u. err is nil if the connection was stopped meanwhile.
func (r *Relay) dialFailed(u *upstream, err *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.dialing--
	if err != nil {
		r.countFailure(u, err, true)
	}
}

// begin registers a session with an established connection to its upstream.
func (r *Relay) begin(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := s.upstream
	u.dialing--
	u.total++
	u.sessions[s] = struct{}{}
}

// end removes a session. err is the failure of the upstream that has ended it, or nil.
func (r *Relay) end(s *session, err *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, st := s.upstream, s.server.Stats()
	delete(u.sessions, s)
	u.sent += st.BytesWritten
	u.received += st.BytesRead
	if err != nil {
		r.countFailure(u, err, err.Failure == Reset && st.BytesRead == 0)
	}
	if u.live() == 0 {
		r.removed = slices.DeleteFunc(r.removed, func(o *upstream) bool { return o == u })
	}
}

// countFailure counts a failure of u. unhealthy says that it counts for its passive health too.
// r.mu is held.
func (r *Relay) countFailure(u *upstream, err *Error, unhealthy bool) {
	now := time.Now()
	u.failures[err.Failure]++
	u.lastErr, u.lastErrAt = err.Err.Error(), now
	o := r.opts.Load()
	p := &o.Passive
	if !unhealthy || p.MaxFailures < 0 {
		return
	}
	if now.Sub(u.failedSince) > p.Window {
		u.failed, u.failedSince = 0, now
	}
	u.failed++
	if u.failed < p.MaxFailures || u.outUntil.After(now) {
		return
	}
	u.outUntil = now.Add(p.BackOff)
	u.failed, u.failedSince = p.MaxFailures-1, u.outUntil
	r.changed(o, u)
}

// changed reports a change of the state of u. r.mu is held.
func (r *Relay) changed(o *Options, u *upstream) {
	if o.OnChange != nil {
		o.OnChange(u.stats(time.Now(), false))
	}
}
