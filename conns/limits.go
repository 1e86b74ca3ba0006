package conns

import (
	"context"
	"fmt"
	"math"
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

	// RestAfter is how long nothing has to be received on a connection before it gives up its
	// goroutine, if its protocol is a [protocol.Sleeper]. It takes up to a second more. 0 or less is
	// never.
	RestAfter time.Duration

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
	return max(1, int(math.Ceil(min(r.PerSecond, 1e9))))
}

// longestFill keeps sums of times to fill a bucket from overflowing. It is 73 years.
const longestFill = 1 << 61

// take takes one from a bucket whose state is the time at which it will be full again,
// in nanoseconds. If it is empty, nothing is taken and wait is the time until there is one.
// The clock is one that never jumps.
func (r Rate) take(full *int64, now int64) (wait time.Duration) {
	each := min(float64(time.Second)/r.PerSecond, longestFill)
	capacity := int64(min(each*float64(r.burst()), longestFill))
	*full = min(*full, now+capacity) // more would be a debt from a slower rate
	next := max(*full, now) + int64(each)
	if over := next - now - capacity; over > 0 {
		return time.Duration(over)
	}
	*full = next
	return 0
}

// Pace is a [Rate] at work. The zero value has no limit. Its methods may be called from any
// goroutine.
type Pace struct {
	rate atomic.Pointer[Rate]

	mu      sync.Mutex // guards the rest
	began   time.Time  // full counts from here
	full    int64
	changed chan struct{} // closed when the rate changes; nil: nobody waits
}

// SetRate changes the rate, also for those who wait.
func (p *Pace) SetRate(r Rate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate.Store(&r)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// Limited reports whether there is a rate to keep.
func (p *Pace) Limited() bool {
	r := p.rate.Load()
	return r != nil && r.PerSecond > 0
}

// Wait takes one, as soon as the rate allows. It returns the cause of ctx if that ends
// first, and then nothing is taken.
func (p *Pace) Wait(ctx context.Context) error {
	for {
		wait, changed := p.take()
		if wait == 0 {
			return nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		t.Stop()
	}
}

func (p *Pace) take() (wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Limited() {
		return 0, nil
	}
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if wait = p.rate.Load().take(&p.full, int64(time.Since(p.began))); wait > 0 && p.changed == nil {
		p.changed = make(chan struct{})
	}
	return wait, p.changed
}
