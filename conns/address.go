package conns

import (
	"net"
	"net/netip"
	"sync"

	"goranch/internal/remoteip"
)

// addresses is the table of source addresses, by the key of package remoteip. It holds those with
// live connections, which the cap bounds, and, while a rate is limited, at most maxQuiet others.
type addresses struct{ parts [16]addressPart }

type addressPart struct {
	mu sync.Mutex
	m  map[netip.Addr]*address
	_  [48]byte // keeps neighbours out of this cache line
}

// address is one source address.
type address struct {
	key  netip.Addr
	live int
	full int64 // when its bucket is full again, on the supervisor's clock; see Rate.take
}

// maxQuiet is how many addresses without connections stay in the table for their rate. In a flood
// of more, some are removed, and their rate starts again: the memory of the table is bounded.
const maxQuiet = 65536

func (t *addresses) part(a netip.Addr) *addressPart {
	b := a.As16()
	h := uint32(2166136261)
	for _, x := range b[4:] { // an IPv4 address is in the last four bytes, a /64 in the first eight
		h = (h ^ uint32(x)) * 16777619
	}
	return &t.parts[h>>8%uint32(len(t.parts))]
}

// add counts a connection from addr, unless a limit forbids it: then the error is RefusedAddress or
// RefusedRate. The result is nil if addr is not counted.
func (t *addresses) add(addr net.Addr, lim *Limits, now int64) (*address, error) {
	key := remoteip.Key(addr)
	if !key.IsValid() {
		return nil, nil
	}
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	a, known := p.m[key]
	if !known {
		a = &address{key: key}
	}
	if lim.PerAddress > 0 && a.live >= lim.PerAddress {
		return nil, RefusedAddress
	}
	if lim.AddressRate.PerSecond > 0 && lim.AddressRate.take(&a.full, now) > 0 {
		return nil, RefusedRate
	}
	if a.live++; !known {
		p.put(a)
	}
	return a, nil
}

// put adds a. If the part is full, it removes some addresses without connections. p is locked.
func (p *addressPart) put(a *address) {
	if p.m == nil {
		p.m = make(map[netip.Addr]*address)
	}
	if len(p.m) >= maxQuiet/len(addresses{}.parts) {
		checked := 0
		for key, old := range p.m { // in random order
			if old.live == 0 {
				delete(p.m, key)
			}
			if checked++; checked == 8 {
				break
			}
		}
	}
	p.m[a.key] = a
}

// remove uncounts a connection. It removes the address if it was the last and the bucket is full.
func (t *addresses) remove(a *address, now int64) {
	p := t.part(a.key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.live--; a.live == 0 && a.full <= now {
		delete(p.m, a.key)
	}
}

// forget removes addresses without connections whose buckets are full again.
func (t *addresses) forget(now int64) {
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		for key, a := range p.m {
			if a.live == 0 && a.full <= now {
				delete(p.m, key)
			}
		}
		p.mu.Unlock()
	}
}

func (t *addresses) len() (n int) {
	for i := range t.parts {
		t.parts[i].mu.Lock()
		n += len(t.parts[i].m)
		t.parts[i].mu.Unlock()
	}
	return n
}
