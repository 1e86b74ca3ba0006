package pubsub

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"goranch/internal/remoteip"
)

// account counts the memory that the connected clients of one source address make the server keep:
// their subscriptions and their incomplete frames. A nil account has no limit.
type account struct {
	limit      int64
	bytes      atomic.Int64
	incomplete atomic.Int64 // of bytes, those of incomplete frames
	clients    int          // guarded by accounts.mu
}

// chargeIncomplete is charge for incomplete frames, which may take a quarter of the limit.
func (a *account) chargeIncomplete(n int) error {
	if a == nil {
		return nil
	}
	if a.incomplete.Add(int64(n)) > a.limit/4 {
		a.incomplete.Add(-int64(n))
		return limitError("bytes of incomplete frames per source address", int(a.limit/4))
	}
	if err := a.charge(n); err != nil {
		a.incomplete.Add(-int64(n))
		return err
	}
	return nil
}

func (a *account) releaseIncomplete(n int) {
	if a != nil {
		a.incomplete.Add(-int64(n))
		a.release(n)
	}
}

// charge adds n bytes, or returns an error that wraps errLimit.
func (a *account) charge(n int) error {
	if a == nil {
		return nil
	}
	if a.bytes.Add(int64(n)) > a.limit {
		a.bytes.Add(-int64(n))
		return limitError("bytes of subscriptions and incomplete frames per source address", int(a.limit))
	}
	return nil
}

// force adds n bytes even beyond the limit.
func (a *account) force(n int) {
	if a != nil {
		a.bytes.Add(int64(n))
	}
}

func (a *account) release(n int) { a.force(-n) }

// accounts holds the accounts of all source addresses that have clients.
type accounts struct {
	mu        sync.Mutex
	byAddress map[netip.Addr]*account
}

// open returns the account of a client, nil if its address is not limited. The client closes it.
func (as *accounts) open(remote net.Addr, limit int) *account {
	key := remoteip.Key(remote)
	if !key.IsValid() || limit < 0 {
		return nil
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.byAddress == nil {
		as.byAddress = make(map[netip.Addr]*account)
	}
	a := as.byAddress[key]
	if a == nil {
		a = &account{limit: int64(limit)}
		as.byAddress[key] = a
	}
	a.clients++
	return a
}

func (as *accounts) close(remote net.Addr, a *account) {
	if a == nil {
		return
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if a.clients--; a.clients == 0 {
		delete(as.byAddress, remoteip.Key(remote))
	}
}
