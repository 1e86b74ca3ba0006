// Package throttle limits how many bytes per second connections transfer. A [Limits] belongs to all
// connections of a listener: it has the rates of one connection and of all together, which can be
// changed while they transfer. Each connection has a [Flow] for each direction.
//
//	n, err := conn.Read(p[:f.MaxPiece(len(p))])
//	f.Acquire(n, owner) // waits until they are allowed
//
// A rate is kept by a bucket that counts bytes: those that were reserved, and those that are
// allowed by now. A transfer reserves its bytes and waits until they are allowed. So transfers of
// several connections are allowed in the order in which they have reserved. Each reserves one small
// piece at a time. A bucket that was idle allows the bytes of [credit] at once. So in any period a
// rate is exceeded by that at most, which is 0.5 % over 10 s.
package throttle

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// credit is the time whose bytes an idle bucket allows at once. It compensates for timers that
	// fire late.
	credit = 50 * time.Millisecond
	// largest is the most that one transfer reserves, in bytes.
	largest = 64 << 10
)

// Direction is a direction of the payload.
type Direction int

const (
	Receive Direction = iota
	Send
)

// Rates are bytes per second; 0 is no limit.
type Rates struct {
	Connection [2]int // by Direction, of one connection
	Total      [2]int // of all connections together
}

// Limits are the limits of all connections of a listener. Its methods may be called from any
// goroutine. The zero value has no limits.
type Limits struct {
	mu    sync.Mutex // held by Set
	state atomic.Pointer[state]
	total [2]bucket
}

// state holds the rates that are in force. It is never modified, only replaced.
type state struct {
	Rates
	changed chan struct{} // closed when it is replaced; nil: initial state
}

var unlimited = &state{}

func (l *Limits) load() *state {
	if s := l.state.Load(); s != nil {
		return s
	}
	return unlimited
}

// Set changes the rates, also for transfers that wait.
func (l *Limits) Set(r Rates) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.load()
	if r == old.Rates {
		return
	}
	for d := range l.total {
		l.total[d].advance(old.Total[d])
	}
	l.state.Store(&state{r, make(chan struct{})})
	if old.changed != nil {
		close(old.changed)
	}
}

// Any reports whether there is a limit.
func (l *Limits) Any() bool { return l.load().Rates != Rates{} }

// bucket counts the bytes of one rate.
type bucket struct {
	mu       sync.Mutex
	at       time.Time // when allowed was computed
	reserved float64   // all bytes so far
	allowed  float64   // bytes that are allowed by then, the credit included
}

// advance computes allowed at the current time. The rate has been in force since the last call.
func (b *bucket) advance(rate int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advanceLocked(rate)
}

func (b *bucket) advanceLocked(rate int) {
	now := time.Now()
	if rate <= 0 {
		b.allowed = b.reserved
	} else if !b.at.IsZero() {
		b.allowed += now.Sub(b.at).Seconds() * float64(rate)
	}
	b.at = now
	b.allowed = min(b.allowed, b.reserved+max(credit.Seconds()*float64(rate), 1))
}

// reserve reserves n bytes and returns the number that allowed must reach.
func (b *bucket) reserve(n, rate int) (ticket float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advanceLocked(rate)
	b.reserved += float64(n)
	return b.reserved
}

// take reserves up to n bytes that are allowed now, and returns their number.
func (b *bucket) take(n, rate int) int {
	if rate <= 0 {
		return n
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advanceLocked(rate)
	n = min(n, max(int(b.allowed-b.reserved), 0))
	b.reserved += float64(n)
	return n
}

// refund makes n bytes that were reserved and not transferred available to other transfers.
func (b *bucket) refund(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed += float64(n)
}

// delay returns the time until ticket is allowed; 0 or less if it is.
func (b *bucket) delay(ticket float64, rate int) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advanceLocked(rate)
	missing := ticket - b.allowed
	if missing <= 1e-6 { // a rounding error
		return 0
	}
	return time.Duration(min(missing/float64(rate), 1e6)*1e9) + 1
}
