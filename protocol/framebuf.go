package protocol

import "goranch/internal/bufpool"

// An incomplete frame is kept in a buffer whose size depends on the bytes that have arrived, not on
// the announced length, so that a peer cannot occupy memory with a header.

// appendPartial appends b to the incomplete frame.
//
//go:noinline
func (p *Peer) appendPartial(b []byte) {
	p.partial = append(bufpool.Grow(p.partial, len(p.partial)+len(b)), b...)
}

// setPartial reduces the incomplete frame to rest, which is the end of it.
func (p *Peer) setPartial(rest []byte) {
	switch {
	case len(rest) == 0:
		p.freePartial()
	case cap(p.partial) > 4*bufpool.Size(len(rest)):
		smaller := append(bufpool.Get(len(rest)), rest...)
		p.freePartial()
		p.partial = smaller
	default:
		p.partial = p.partial[:copy(p.partial, rest)]
	}
}

func (p *Peer) freePartial() {
	bufpool.Put(p.partial)
	p.partial = nil
}
