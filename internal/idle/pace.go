package idle

import (
	"sync/atomic"
	"time"
)

// Lead is the goroutine of an epoll instance, which reads connections that are readable one after
// the other. It belongs to that goroutine.
type Lead struct {
	// More reports that one read need not return all that has arrived: the peer has closed its side
	// of the connection, or has sent urgent data, at which a read ends.
	More bool
	// Reader is kept for the packages that read connections, which set it.
	Reader any
	// Labels is what the profiler's labels of the goroutine belong to.
	Labels any

	handled int   // events
	slowAt  int   // handled at the last slow one
	slowOf  *Pace // of the connection of the last slow one
	streak  int   // slow events of slowOf of which each followed within slowGap
}

// slow is the time above which the handling of one event is slow. The events of other connections
// wait for it, so a protocol gets goroutines if slowStreak of its events are slow, of which each
// follows within slowGap events. A single one tells nothing: another process may have had the
// processor meanwhile.
const (
	slow       = 200 * time.Microsecond
	slowGap    = 16
	slowStreak = 4
)

// A slow protocol gets goroutines for shortest, each further time twice as long, until longest.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 30 * time.Second
)

// slow records that the handling of an event of p has taken long, until at.
func (l *Lead) slow(p *Pace, at time.Duration) {
	if l.slowOf != p || l.handled-l.slowAt > slowGap {
		l.slowOf, l.streak = p, 0
	}
	l.slowAt = l.handled
	if l.streak++; l.streak >= slowStreak {
		p.slowed(at)
	}
}

// Pace decides whether the connections of a protocol are read by the lead: not while its
// callbacks are slow. The zero value is ready to use.
type Pace struct {
	until atomic.Int64 // when the lead may read again, since start
	pause atomic.Int64 // the last one
}

var start = time.Now()

func now() time.Duration { return time.Since(start) }

// Allows reports whether the lead may read now.
func (p *Pace) Allows() bool { return p.allows(now()) }

func (p *Pace) allows(at time.Duration) bool { return int64(at) >= p.until.Load() }

// slowed begins a pause. A pause as long as the
// last one without another one makes the next one short again.
func (p *Pace) slowed(at time.Duration) {
	until, last := p.until.Load(), time.Duration(p.pause.Load())
	pause := min(2*last, longestPause)
	if last == 0 || at > time.Duration(until)+last {
		pause = shortestPause
	}
	if int64(at) >= until && p.until.CompareAndSwap(until, int64(at+pause)) {
		p.pause.Store(int64(pause))
	}
}
