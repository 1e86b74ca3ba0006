// Package attempts slows down who guesses: it counts failures by the address that they come
// from, and says how long that address has to wait.
//
//	t := attempts.New(attempts.Options{})
//	…
//	if wait, ok := t.Allow(addr); !ok {
//		return fmt.Errorf("too many attempts: wait for %v", wait)
//	}
//	if !right(secret) {
//		t.Fail(addr)
//		return errDenied
//	}
//	t.Succeed(addr)
//
// A few failures are free. Each one after that doubles the time in which Allow refuses. What is
// known of an address is forgotten after a time without failures, and by a success.
//
// # What counts as an address
//
// An IPv4 address, mapped into IPv6 or not, and the /64 network of an IPv6 address, without
// zone and port. Addresses that hold no IP, those of Unix sockets and of connections within the
// process, are never counted and always allowed: most Unix clients have no name, so one of
// them would lock out all others, and what may open the socket is for its file mode to say.
//
// # Floods
//
// The table is bounded, and so is what the addresses of a flood can do to it. Addresses that
// have only used what is free are kept apart from those which had to wait, each kind in half of
// the table, and the one whose last failure is longest ago makes room within its half. To
// push out one address that waits, others have to fail Size/2 × (Free+1) times: each of
// those is a guess already, and what it gains is Free+1 guesses.
//
// A limit by address is no limit for those who have many. The secrets must be too long
// to be guessed at all; this package keeps the load and the noise down.
package attempts

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultFree   = 5
	DefaultFirst  = time.Second
	DefaultMax    = 5 * time.Minute
	DefaultForget = time.Hour
	DefaultSize   = 16384
)

// Options are the settings of a [Table]. The zero value of each field is its default.
type Options struct {
	// Free is how many failures have no consequence. 0 is 5; negative is none.
	Free int
	// First is the wait after the first failure that is not free, doubled by each further
	// one. 0 or negative is 1 s.
	First time.Duration
	// Max is the longest wait. 0 or negative is 5 minutes; less than First is First.
	Max time.Duration
	// Forget is how long after its last failure an address is forgotten. 0 or negative is an
	// hour; less than Max is Max.
	Forget time.Duration
	// Size is how many addresses are known at most, each some 150 bytes. 0 or negative
	// is 16,384; 1 is 2; an odd number is the even one before it.
	Size int
}

func (o Options) withDefaults() Options {
	switch {
	case o.Free == 0:
		o.Free = DefaultFree
	case o.Free < 0:
		o.Free = 0
	}
	if o.First <= 0 {
		o.First = DefaultFirst
	}
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	o.Max = max(o.Max, o.First)
	if o.Forget <= 0 {
		o.Forget = DefaultForget
	}
	o.Forget = max(o.Forget, o.Max)
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	o.Size = max(o.Size, 2)
	return o
}

// Table knows the addresses that have failed. Its methods may be called from any goroutine. It
// has no goroutine and no timer; what is to be forgotten goes when the table is used.
type Table struct {
	opts  Options
	known atomic.Int64 // addresses in the table; Allow looks no further while it is 0

	mu      sync.Mutex
	entries map[netip.Addr]*entry
	halves  [2]list // of free failures, of waits
}

// entry is what is known of an address.
type entry struct {
	addr       netip.Addr
	half       *list
	prev, next *entry
	failures   int
	last       time.Time // of the last failure
	until      time.Time // Allow refuses before
}

// New returns an empty Table.
func New(o Options) *Table {
	return &Table{opts: o.withDefaults(), entries: map[netip.Addr]*entry{}}
}

// Allow reports whether an attempt from addr may be made now; if not, wait is the time until
// then, more than 0. It counts nothing: attempts that Allow refused are not to be made, and are no failures.
// Attempts made side by side are all allowed until the first of them has failed.
func (t *Table) Allow(addr net.Addr) (wait time.Duration, ok bool) {
	if t.known.Load() == 0 {
		return 0, true
	}
	a := sourceOf(addr)
	if !a.IsValid() {
		return 0, true
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	if e := t.entries[a]; e != nil {
		wait = e.until.Sub(now)
	}
	if wait <= 0 {
		return 0, true
	}
	return wait, false
}

// Fail counts a failure of addr.
func (t *Table) Fail(addr net.Addr) {
	a := sourceOf(addr)
	if !a.IsValid() {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	e := t.entries[a]
	if e == nil {
		e = &entry{addr: a}
		t.entries[a] = e
		t.known.Add(1)
	} else {
		e.half.remove(e)
	}
	e.failures++
	e.last = now
	half := &t.halves[0]
	if e.failures > t.opts.Free {
		half = &t.halves[1]
		e.until = now.Add(t.opts.wait(e.failures))
	}
	half.add(e)
	if half.n > t.opts.Size/2 {
		t.drop(half.oldest())
	}
}

// Succeed forgets the failures of addr. Whoever knows one good secret can therefore guess at
// others at leisure.
func (t *Table) Succeed(addr net.Addr) {
	if t.known.Load() == 0 {
		return
	}
	a := sourceOf(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[a]; e != nil {
		t.drop(e)
	}
}

// Len returns how many addresses are known; those that are about to be forgotten count.
func (t *Table) Len() int { return int(t.known.Load()) }

// wait is how long an address waits after so many failures, which are more than the free ones.
func (o *Options) wait(failures int) time.Duration {
	d := o.First
	for n := failures - o.Free; n > 1 && d < o.Max; n-- {
		d *= 2
		if d <= 0 { // more than a Duration holds
			return o.Max
		}
	}
	return min(d, o.Max)
}

// forget drops those whose last failure is too long ago: they are the first of their half.
func (t *Table) forget(now time.Time) {
	for i := range t.halves {
		half := &t.halves[i]
		for half.n > 0 && now.Sub(half.oldest().last) >= t.opts.Forget {
			t.drop(half.oldest())
		}
	}
}

func (t *Table) drop(e *entry) {
	e.half.remove(e)
	delete(t.entries, e.addr)
	t.known.Add(-1)
}

// sourceOf returns what addr counts as; the zero Addr if it does not count.
func sourceOf(addr net.Addr) netip.Addr {
	var ip netip.Addr
	switch a := addr.(type) {
	case nil:
	case *net.TCPAddr:
		ip = a.AddrPort().Addr()
	case *net.UnixAddr: // its name may look like anything
	default:
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			ip = ap.Addr()
		}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		net64, _ := ip.Prefix(64)
		return net64.Addr()
	}
	return ip
}
