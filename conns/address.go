package conns

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// addressKey identifies the clients that are counted together: those of a prefix. It is smaller
// than a netip.Prefix, and faster to hash.
type addressKey struct{ hi, lo, bits uint64 }

// defaultBits6 is the prefix length by which IPv6 addresses are counted; see package remoteip.
const defaultBits6 = 64

// keyOf returns the key of ip, which is not mapped, by the prefix lengths of rule, which may be
// nil.
func keyOf(ip netip.Addr, rule *NetworkRule) addressKey {
	bits := 32
	if ip.Is6() {
		bits = defaultBits6
	}
	if rule != nil {
		if n := rule.bits(ip); n > 0 {
			bits = n
		}
	}
	if ip.Is4() {
		bits += 96
	}
	b := ip.As16()
	k := addressKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint64(bits)}
	k.hi &= ^uint64(0) << max(64-bits, 0)
	k.lo &= ^uint64(0) << min(128-bits, 64)
	return k
}

// addressLimits are the limits per address that apply to a connection.
type addressLimits struct {
	perAddress int
	rate       Rate
}

func (l addressLimits) any() bool { return l.perAddress > 0 || l.rate.PerSecond > 0 }

// replaced returns l with the limits of a rule in place of its own.
func (l addressLimits) replaced(rule *NetworkRule) addressLimits {
	if rule.PerAddress != 0 {
		l.perAddress = rule.PerAddress
	}
	if rule.AddressRate.PerSecond > 0 {
		l.rate = rule.AddressRate
	}
	return l
}

// addresses is a table of source addresses. It holds those with
// live connections, which the cap bounds, and, while a rate is limited, at most maxInactive others.
type addresses struct{ shards [16]addressShard }

type addressShard struct {
	mu sync.Mutex
	m  map[addressKey]*address
	_  [48]byte // keeps the next shard out of this cache line
}

// address is one source address.
type address struct {
	key  addressKey
	live int
	full int64 // when its bucket is full again, on the clock of the table's owner; see Rate.take
}

// maxInactive is how many addresses without connections stay in the table for their rate. In a
// flood of more, some are removed, and their rate starts again: the memory of the table is bounded.
const maxInactive = 65536

func (t *addresses) shard(k addressKey) *addressShard {
	h := (k.hi ^ k.lo*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93
	return &t.shards[h>>60]
}

// add counts a connection of key, unless a limit forbids it: then the error is RefusedAddress or
// RefusedRate.
func (t *addresses) add(key addressKey, lim addressLimits, now int64) (*address, error) {
	p := t.shard(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	a, known := p.m[key]
	if !known {
		a = &address{key: key}
	}
	if lim.perAddress > 0 && a.live >= lim.perAddress {
		return nil, RefusedAddress
	}
	if lim.rate.PerSecond > 0 && lim.rate.take(&a.full, now) > 0 {
		return nil, RefusedRate
	}
	if a.live++; !known {
		p.put(a)
	}
	return a, nil
}

// put adds a. If the shard is full, it removes some addresses without connections. p is locked.
func (p *addressShard) put(a *address) {
	if p.m == nil {
		p.m = make(map[addressKey]*address)
	}
	if len(p.m) >= maxInactive/len(addresses{}.shards) {
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

// remove uncounts a connection of key. It removes the address if it was the last and the bucket is
// full.
func (t *addresses) remove(key addressKey, now int64) {
	p := t.shard(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.m[key] // it exists while it has connections
	if a.live--; a.live == 0 && a.full <= now {
		delete(p.m, key)
	}
}

// prune removes addresses without connections whose buckets are full again.
func (t *addresses) prune(now int64) {
	for i := range t.shards {
		p := &t.shards[i]
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
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].m)
		t.shards[i].mu.Unlock()
	}
	return n
}
