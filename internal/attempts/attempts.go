// Package attempts limits how fast secrets can be guessed. It counts failed attempts per source
// address and reports how long an address has to wait before its next attempt.
//
//	t := attempts.New(attempts.Options{})
//	…
//	if wait, ok := t.Allow(addr); !ok {
//		return fmt.Errorf("too many attempts: wait for %v", wait)
//	}
//	if !valid(secret) {
//		t.Fail(addr)
//		return errDenied
//	}
//	t.Succeed(addr)
//
// The first failures of an address have no consequence. Each further failure doubles the time for
// which Allow refuses the address. A success, or a period without failures, resets the address.
//
// The key of an address is [remoteip.Key]. Addresses without an IP address (Unix sockets,
// connections within the process) are never counted and always allowed.
//
// # Floods
//
// The table has a fixed capacity. Half of it is reserved for addresses that have to wait, the other
// half for addresses that have used only free failures, and each half evicts the address whose last
// failure is oldest. To evict one waiting address, an attacker therefore needs Size/2 × (Free+1)
// failures from other addresses, and gains Free+1 attempts.
//
// A limit per address does not stop an attacker with many addresses. Secrets must be too long to be
// guessed; this package only bounds the load and the log noise of attempts.
package attempts

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"goranch/internal/option"
	"goranch/internal/remoteip"
)

// Options are the settings of a [Table]. The zero value of each field is its default.
type Options struct {
	// Free is the number of failures without consequence. 0 is 5; negative is none.
	Free int
	// First is the wait after the first failure that is not free. Each further failure doubles it.
	// 0 or negative is 1 s.
	First time.Duration
	// Max is the longest wait. 0 or negative is 5 minutes; a value below First is First.
	Max time.Duration
	// Forget is the time after its last failure at which an address is removed. 0 or negative is
	// one hour; a value below Max is Max.
	Forget time.Duration
	// Size is the capacity of the table in addresses, of some 150 bytes each. 0 or negative is
	// 16,384. Odd numbers are rounded down, but not below 2.
	Size int
}

const defaultSize = 16384

func (o Options) withDefaults() Options {
	option.Default(&o.Free, 5)
	o.Free = max(o.Free, 0)
	if o.First <= 0 {
		o.First = time.Second
	}
	if o.Max <= 0 {
		o.Max = 5 * time.Minute
	}
	o.Max = max(o.Max, o.First)
	if o.Forget <= 0 {
		o.Forget = time.Hour
	}
	o.Forget = max(o.Forget, o.Max)
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	o.Size = max(o.Size, 2)
	return o
}

// Table holds the addresses with failed attempts. Its methods are safe for concurrent use. It runs
// no goroutine and no timer: each call removes the entries that have expired.
type Table struct {
	opts  Options
	count atomic.Int64 // entries; lets Allow skip the lock while the table is empty

	mu      sync.Mutex
	entries map[netip.Addr]*entry
	free    list // entries without a wait
	waiting list // entries with a wait
}

// entry is the state of one address.
type entry struct {
	addr       netip.Addr
	list       *list
	prev, next *entry
	failures   int
	last       time.Time // last failure
	until      time.Time // Allow refuses before this time
}

// New returns an empty table.
func New(o Options) *Table {
	return &Table{opts: o.withDefaults(), entries: map[netip.Addr]*entry{}}
}

// Allow reports whether addr may make an attempt now. If not, wait is the remaining time, which is
// positive. Allow counts nothing. Concurrent attempts of one address are all allowed until the
// first of them fails.
func (t *Table) Allow(addr net.Addr) (wait time.Duration, ok bool) {
	if t.count.Load() == 0 {
		return 0, true
	}
	a := remoteip.Key(addr)
	if !a.IsValid() {
		return 0, true
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if e := t.entries[a]; e != nil {
		wait = e.until.Sub(now)
	}
	if wait <= 0 {
		return 0, true
	}
	return wait, false
}

// Fail counts a failed attempt of addr.
func (t *Table) Fail(addr net.Addr) {
	a := remoteip.Key(addr)
	if !a.IsValid() {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	e := t.entries[a]
	if e == nil {
		e = &entry{addr: a}
		t.entries[a] = e
		t.count.Add(1)
	} else {
		e.list.remove(e)
	}
	e.failures++
	e.last = now
	l := &t.free
	if e.failures > t.opts.Free {
		l = &t.waiting
		e.until = now.Add(t.opts.wait(e.failures))
	}
	l.add(e)
	if l.n > t.opts.Size/2 {
		t.remove(l.oldest())
	}
}

// Succeed resets the failures of addr. A client with one valid secret can therefore guess others
// without a limit.
func (t *Table) Succeed(addr net.Addr) {
	if t.count.Load() == 0 {
		return
	}
	a := remoteip.Key(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[a]; e != nil {
		t.remove(e)
	}
}

// Len returns the number of addresses in the table, including expired ones not removed yet.
func (t *Table) Len() int { return int(t.count.Load()) }

// wait returns the wait after the given number of failures, which is greater than Free.
func (o *Options) wait(failures int) time.Duration {
	d := o.First
	for n := failures - o.Free; n > 1 && d < o.Max; n-- {
		d *= 2
		if d <= 0 { // overflow
			return o.Max
		}
	}
	return min(d, o.Max)
}

// expire removes the entries whose last failure is older than Forget.
func (t *Table) expire(now time.Time) {
	for _, l := range []*list{&t.free, &t.waiting} {
		for l.n > 0 && now.Sub(l.oldest().last) >= t.opts.Forget {
			t.remove(l.oldest())
		}
	}
}

func (t *Table) remove(e *entry) {
	e.list.remove(e)
	delete(t.entries, e.addr)
	t.count.Add(-1)
}
