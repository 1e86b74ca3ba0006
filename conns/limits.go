package conns

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what connections may take. They can be changed at any time; the zero
// value bounds nothing.
type Limits struct {
	// HandshakeTimeout is the time for everything before Serve, waiting for MaxHandshakes
	// included. 0 or less is none.
	HandshakeTimeout time.Duration
	// MaxHandshakes is how many handshakes may be in progress at once; others wait, first
	// come, first served. 0 or less is no limit but the cap. Transports without a
	// handshake are not concerned.
	MaxHandshakes int

	// PerAddress is how many connections one source address may have. 0 or less is no limit.
	// Addresses of IPv6 count by their /64; Unix sockets and other local ones do not count.
	// Behind a proxy the client's address counts.
	PerAddress int
	// AddressRate is how fast one source address may connect.
	AddressRate Rate

	// IdleTimeout ends a connection on which nothing was carried for so long, ReadTimeout
	// one on which nothing was received, WriteTimeout one on which nothing was sent. 0 or
	// less is none. They are looked after by [Supervisor.Watch], so a connection may live on
	// for an eighth of the limit, or a second, whichever is less. It is told to end, and
	// closed after Grace.
	IdleTimeout, ReadTimeout, WriteTimeout time.Duration

	// Lifetime ends a connection at that age, 0 or less is none. LifetimeJitter is the share
	// of it, 0 to 1, by which lives are shortened at random, so that clients which came
	// together do not return together.
	Lifetime       time.Duration
	LifetimeJitter float64

	// Grace is the time between telling a connection to end for one of these limits and
	// closing it. 0 or less closes at once.
	Grace time.Duration
}

// shortest returns the shortest of the times that Watch looks after; 0 if there is none.
func (l *Limits) shortest() (d time.Duration) {
	for _, t := range []time.Duration{l.IdleTimeout, l.ReadTimeout, l.WriteTimeout, l.Lifetime} {
		if t > 0 && (d == 0 || t < d) {
			d = t
		}
	}
	return d
}

// life returns how long the connection with that id may live. The share of its jitter is
// drawn from the id, which costs no room.
func (l *Limits) life(id uint64) time.Duration {
	x := id * 0x9e3779b97f4a7c15
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	share := float64(x>>11) / (1 << 53)
	return time.Duration(float64(l.Lifetime) * (1 - l.LifetimeJitter*share))
}

// Rate is so many per second, on average. The zero value is no limit.
type Rate struct {
	// PerSecond is the average. 0 or less is no limit.
	PerSecond float64
	// Burst is how many may come at once after a pause. 0 or less is PerSecond rounded
	// up: a second's worth.
	Burst int
}

// String returns the rate as in "10/s, burst 20"; "unlimited" if it is none.
func (r Rate) String() string {
	if r.PerSecond <= 0 {
		return "unlimited"
	}
	return fmt.Sprintf("%g/s, burst %d", r.PerSecond, r.burst())
}

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, int(r.PerSecond+0.999999))
}

// take takes one from a bucket whose state is the time at which it will be full again,
// in nanoseconds. If it is empty, nothing changes and wait is the time until there is one.
func (r Rate) take(full *int64, now int64) (wait time.Duration) {
	each := float64(time.Second) / r.PerSecond
	next := max(*full, now) + int64(each)
	if over := next - now - int64(each*float64(r.burst())); over > 0 {
		return time.Duration(over)
	}
	*full = next
	return 0
}

// Pace is a [Rate] at work. Its methods may be called from any goroutine.
type Pace struct {
	rate atomic.Pointer[Rate]
	mu   sync.Mutex
	full int64
}

// SetRate changes the rate.
func (p *Pace) SetRate(r Rate) { p.rate.Store(&r) }

// Limited reports whether there is a rate to keep.
func (p *Pace) Limited() bool {
	r := p.rate.Load()
	return r != nil && r.PerSecond > 0
}

// Take takes one, or returns how long it will be until there is one.
func (p *Pace) Take(now time.Time) (wait time.Duration) {
	r := p.rate.Load()
	if r == nil || r.PerSecond <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.take(&p.full, now.UnixNano())
}
