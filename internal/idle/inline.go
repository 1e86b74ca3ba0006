package idle

import (
	"sync/atomic"
	"time"
)

// Lead is the state of the goroutine that waits for events of an epoll instance and reads the
// connections that are readable, one after the other. Only that goroutine uses it.
type Lead struct {
	// More reports that one read need not return all that has arrived: the peer has closed its side
	// of the connection, or has sent urgent data, at which a read ends.
	More bool
	// Reader belongs to package transport, which keeps its buffers here. nil: none so far.
	Reader any
	// Labels identifies the owner of the profiler labels that the goroutine has. nil: none.
	Labels any

	handled int           // events
	slowAt  int           // handled at the last slow one
	slowOf  *InlinePolicy // of the connection of the last slow one
	streak  int           // slow events of slowOf of which each followed within slowGap
}

// slow is the time above which the handling of one event is slow. The events of other connections
// wait for it, so the connections of a protocol get goroutines if slowStreak of its events are
// slow, of which each follows within slowGap events. A single slow event proves nothing: another
// process may have had the processor meanwhile.
const (
	slow       = 200 * time.Microsecond
	slowGap    = 16
	slowStreak = 4
)

// The connections of a slow protocol get goroutines for shortestDisable, each further time for
// twice as long, up to longestDisable.
const (
	shortestDisable = 100 * time.Millisecond
	longestDisable  = 30 * time.Second
)

// slow records that the handling of an event of p has taken long, until at.
func (l *Lead) slow(p *InlinePolicy, at time.Duration) {
	if l.slowOf != p || l.handled-l.slowAt > slowGap {
		l.slowOf, l.streak = p, 0
	}
	l.slowAt = l.handled
	if l.streak++; l.streak >= slowStreak {
		p.slowed(at)
	}
}

// InlinePolicy decides whether the lead itself reads the connections of a protocol: not while the
// protocol's callbacks are slow. The zero value is ready to use. Its methods may be called from any
// goroutine.
type InlinePolicy struct {
	until    atomic.Int64 // when the lead may read again, in nanoseconds since start
	duration atomic.Int64 // for which the lead did not read, the last time
}

var start = time.Now()

func now() time.Duration { return time.Since(start) }

// Allows reports whether the lead may read connections of the protocol now.
func (p *InlinePolicy) Allows() bool { return p.allows(now()) }

func (p *InlinePolicy) allows(at time.Duration) bool { return int64(at) >= p.until.Load() }

// slowed disables reads of the lead. After a time as long as the last one without slow events, the
// next time is short again.
func (p *InlinePolicy) slowed(at time.Duration) {
	until, last := p.until.Load(), time.Duration(p.duration.Load())
	d := min(2*last, longestDisable)
	if last == 0 || at > time.Duration(until)+last {
		d = shortestDisable
	}
	if int64(at) >= until && p.until.CompareAndSwap(until, int64(at+d)) {
		p.duration.Store(int64(d))
	}
}
