package relay

import (
	"math"
	"time"
)

// State is the state of an upstream.
type State string

const (
	Up      State = "up"      // connections are forwarded to it
	Full    State = "full"    // it has its maximum of connections
	Out     State = "out"     // it has failed too often; see Passive
	Down    State = "down"    // its health checks fail
	Removed State = "removed" // it is not configured any more, and still has connections
)

// Failures are all kinds of failures of an upstream; those without one are NoneAvailable.
var Failures = []Failure{DialFailed, DialRefused, DialTimeout, HeaderFailed, HandshakeFailed, Reset, SendTimeout}

// UpstreamStats are the figures of an upstream.
type UpstreamStats struct {
	Addr           string
	State          State
	Weight         int
	MaxConnections int // 0 is no limit

	Live          int                 // connections, those that are being established included
	Total         uint64              // connections that were established
	Failed        [numFailures]uint64 // failed attempts and failed connections by Failure
	BytesSent     uint64              // to the upstream, of live and of ended connections
	BytesReceived uint64              // from the upstream

	LastError   string    // of the last failure; "" if there was none
	LastErrorAt time.Time // its time
	OutUntil    time.Time // when an upstream that is Out is used again
	CheckedAt   time.Time // of the last health check; zero if there was none
}

// Stats are the figures of a Relay.
type Stats struct {
	Upstreams     []UpstreamStats // in the order of the options, then removed ones with connections
	NoneAvailable uint64          // connections that were refused because no upstream was available
}

// Stats returns the figures.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	st := Stats{NoneAvailable: r.unavailable}
	for _, u := range r.upstreams {
		st.Upstreams = append(st.Upstreams, u.stats(now, false))
	}
	for _, u := range r.removed {
		st.Upstreams = append(st.Upstreams, u.stats(now, true))
	}
	return st
}

// stats returns the figures of u. The lock of its Relay is held.
func (u *upstream) stats(now time.Time, removed bool) UpstreamStats {
	st := UpstreamStats{
		Addr: u.addr, State: u.state(now, removed), Weight: u.cfg.Weight,
		Live: u.live(), Total: u.total, Failed: u.failures, BytesSent: u.sent, BytesReceived: u.received,
		LastError: u.lastErr, LastErrorAt: u.lastErrAt, CheckedAt: u.checkedAt,
	}
	if u.cfg.MaxConnections != math.MaxInt {
		st.MaxConnections = u.cfg.MaxConnections
	}
	if st.State == Out {
		st.OutUntil = u.outUntil
	}
	for s := range u.sessions {
		c := s.server.Stats()
		st.BytesSent += c.BytesWritten
		st.BytesReceived += c.BytesRead
	}
	return st
}

func (u *upstream) state(now time.Time, removed bool) State {
	switch {
	case removed:
		return Removed
	case u.down:
		return Down
	case u.outUntil.After(now):
		return Out
	case u.live() >= u.cfg.MaxConnections:
		return Full
	}
	return Up
}
