package pubsub

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"goranch/internal/remoteip"
)

// One source address may use a 32nd of the unused part of a limit for all clients, and a 64th for
// incomplete frames. A few addresses therefore never reach the limit: 14 leave half of it unused,
// and 50 a tenth.
const (
	addressShare = 32
	framesShare  = 64
)

// shareOf returns what one source address may use of a limit of all clients.
func shareOf(free int64) int64 { return max(free, 0) / addressShare }

// uncounted is the size of the buffer of an incomplete frame, in bytes, up to which it is not
// counted: clients that send short frames are not refused because others send long ones.
const uncounted = 16 << 10

// account counts the memory that the server keeps for the connected clients of one source address.
// Connections without an address, in memory and over Unix sockets, share one account, to which only
// TotalBytes applies.
type account struct {
	all  *accounts
	key  netip.Addr
	refs int // clients, and subscribers with rare patterns; guarded by accounts.mu

	subscriptions usage        // bytes
	frames        usage        // bytes of incomplete frames
	rare          atomic.Int64 // subscriptions to patterns of a rare shape, of detached sessions too
}

// usage is a number of bytes that counts against Options.AddressBytes.
type usage struct {
	bytes atomic.Int64
	part  int64 // divides AddressBytes: 1 is all of it, 4 a quarter
	share int64 // divides the unused part of TotalBytes: addressShare or framesShare
	what  string
}

// charge adds n bytes to u, or returns an error that wraps errLimit.
func (a *account) charge(u *usage, n int) error {
	all, used := a.all, u.bytes.Add(int64(n))
	free := all.total - all.bytes.Add(int64(n))
	limit := int64(math.MaxInt64)
	switch {
	case !a.key.IsValid() || all.perAddress < 0:
	case all.perAddress == 0:
		limit = max(free, 0) / u.share
	default:
		limit = all.perAddress / u.part
	}
	switch {
	case free < 0:
		a.add(u, -n)
		return limitError("bytes of subscriptions and incomplete frames in all", int(all.total))
	case used > limit:
		a.add(u, -n)
		return limitError("bytes of "+u.what+" per source address", int(limit))
	}
	return nil
}

// add adds n bytes to u, which may be negative, without a limit.
func (a *account) add(u *usage, n int) {
	u.bytes.Add(int64(n))
	a.all.bytes.Add(int64(n))
}

func (a *account) chargeSubscriptions(n int) error { return a.charge(&a.subscriptions, n) }

// releaseSubscriptions releases n bytes. A nil account is that of a detached session, whose memory
// the session manager counts.
func (a *account) releaseSubscriptions(n int) {
	if a != nil {
		a.add(&a.subscriptions, -n)
	}
}

// resizeFrame charges for the buffer of an incomplete frame that changes its size.
func (a *account) resizeFrame(from, to int) error {
	n := countedFrame(to) - countedFrame(from)
	if n <= 0 {
		a.add(&a.frames, n)
		return nil
	}
	return a.charge(&a.frames, n)
}

func countedFrame(size int) int {
	if size <= uncounted {
		return 0
	}
	return size
}

// mayAddTopic returns an error if the address has more subscriptions than its share of the topics
// that are free.
func (a *account) mayAddTopic(free int64) error {
	if share := max(shareOf(free), minTopics); a.shared() && a.subscriptions.bytes.Load()/subscriptionSize > share {
		return limitError("topics per source address", int(share))
	}
	return nil
}

// minTopics is a number of topics that an address may have even if MaxTopics is low.
const minTopics = 16

// mayAddShape is mayAddTopic for rare shapes of patterns.
func (a *account) mayAddShape(free int64) error {
	if share := max(shareOf(free), 1); a.shared() && a.rare.Load() >= share {
		return limitError(rareShapes+" per source address", int(share))
	}
	return nil
}

// shared reports whether the address has a share of the limits of all clients, and not a limit of
// its own or none.
func (a *account) shared() bool { return a != nil && a.key.IsValid() && a.all.perAddress == 0 }

// accounts holds the accounts of all source addresses that have clients.
type accounts struct {
	total      int64 // limit of bytes
	perAddress int64 // Options.AddressBytes
	bytes      atomic.Int64

	mu        sync.Mutex
	byAddress map[netip.Addr]*account
}

// init sets the limits.
func (as *accounts) init(o *Options) {
	as.total, as.perAddress = int64(o.TotalBytes), int64(o.AddressBytes)
	if as.total < 0 {
		as.total = math.MaxInt64 / 2
	}
	as.byAddress = make(map[netip.Addr]*account)
}

// open returns the account of a client, which closes it.
func (as *accounts) open(remote net.Addr) *account {
	key := remoteip.Key(remote)
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byAddress[key]
	if a == nil {
		a = &account{all: as, key: key}
		a.subscriptions.part, a.subscriptions.share, a.subscriptions.what = 1, addressShare, "subscriptions"
		a.frames.part, a.frames.share, a.frames.what = 4, framesShare, "incomplete frames"
		as.byAddress[key] = a
	}
	a.refs++
	return a
}

// retain keeps an account open until a further close.
func (a *account) retain() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.refs++
}

func (a *account) close() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.refs--; a.refs == 0 {
		delete(a.all.byAddress, a.key)
	}
}
