package conns

import (
	"net"
	"net/netip"
	"sync"
)

// sources is the table of addresses that connections come from. It holds those with live
// connections, which the cap bounds, and, while a rate is kept, at most maxQuiet others.
type sources struct{ parts [16]sourcePart }

type sourcePart struct {
	mu sync.Mutex
	m  map[netip.Addr]*source
	_  [48]byte
}

// source is one address.
type source struct {
	addr netip.Addr
	live int
	full int64 // when its bucket is full again, on the supervisor's clock; see Rate.take
}

// maxQuiet is how many addresses without connections are remembered for their rate. A flood
// of more makes the table forget some, which costs it no memory and gives those a fresh start.
const maxQuiet = 65536

// ipOf returns the IP address in addr, IPv4 as such and without a zone; the zero Addr if
// there is none.
func ipOf(addr net.Addr) (ip netip.Addr) {
	switch a := addr.(type) {
	case nil:
	case *net.TCPAddr:
		ip = a.AddrPort().Addr()
	default:
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			ip = ap.Addr()
		}
	}
	return ip.Unmap().WithZone("")
}

// sourceOf returns what addr counts as; the zero Addr if it does not count.
func sourceOf(addr net.Addr) netip.Addr {
	ip := ipOf(addr)
	if ip.Is6() {
		net64, _ := ip.Prefix(64)
		return net64.Addr()
	}
	return ip
}

func (s *sources) part(a netip.Addr) *sourcePart {
	b := a.As16()
	h := uint32(2166136261)
	for _, x := range b[4:] { // an IPv4 address is in the last four bytes, a /64 in the first eight
		h = (h ^ uint32(x)) * 16777619
	}
	return &s.parts[h>>8%uint32(len(s.parts))]
}

// enter counts a connection of that address, unless a limit forbids.
func (s *sources) enter(a netip.Addr, lim *Limits, now int64) (*source, error) {
	p := s.part(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	src, known := p.m[a]
	if !known {
		src = &source{addr: a}
	}
	if lim.PerAddress > 0 && src.live >= lim.PerAddress {
		return nil, ErrPerAddress
	}
	if lim.AddressRate.PerSecond > 0 && lim.AddressRate.take(&src.full, now) > 0 {
		return nil, ErrAddressRate
	}
	if src.live++; !known {
		p.put(src)
	}
	return src, nil
}

// put adds src, in the place of quiet ones if there are too many. p is locked.
func (p *sourcePart) put(src *source) {
	if p.m == nil {
		p.m = make(map[netip.Addr]*source)
	}
	if len(p.m) >= maxQuiet/len(sources{}.parts) {
		looked := 0
		for a, old := range p.m { // in random order
			if old.live == 0 {
				delete(p.m, a)
			}
			if looked++; looked == 8 {
				break
			}
		}
	}
	p.m[src.addr] = src
}

// leave uncounts a connection. The address is forgotten if its bucket is full.
func (s *sources) leave(src *source, now int64) {
	p := s.part(src.addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	if src.live--; src.live == 0 && src.full <= now {
		delete(p.m, src.addr)
	}
}

// forget drops quiet addresses whose buckets are full again.
func (s *sources) forget(now int64) {
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for a, src := range p.m {
			if src.live == 0 && src.full <= now {
				delete(p.m, a)
			}
		}
		p.mu.Unlock()
	}
}

func (s *sources) len() (n int) {
	for i := range s.parts {
		s.parts[i].mu.Lock()
		n += len(s.parts[i].m)
		s.parts[i].mu.Unlock()
	}
	return n
}
