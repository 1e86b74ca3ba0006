package protocol

import "goranch/internal/bufpool"

// An incomplete frame is kept in a buffer whose size depends on the bytes that have arrived, not on
// the announced length, so that a peer cannot occupy memory with a header.

// appendPartial appends b to the incomplete frame.
//
//go:noinline
func (p *Peer) appendPartial(b []byte) {
	if n := len(p.partial) + len(b); n > cap(p.partial) {
		p.movePartial(p.partial, n)
	}
	p.partial = append(p.partial, b...)
}

// setPartial reduces the incomplete frame to rest, which is the end of it.
func (p *Peer) setPartial(rest []byte) {
	switch {
	case len(rest) == 0:
		p.freePartial()
	case cap(p.partial) > 4*bufpool.Size(len(rest)):
		p.movePartial(rest, len(rest))
	default:
		p.partial = p.partial[:copy(p.partial, rest)]
	}
}

// movePartial makes b the incomplete frame, in another buffer for n bytes.
func (p *Peer) movePartial(b []byte, n int) {
	moved := append(bufpool.Get(n), b...)
	p.freePartial()
	p.partial = moved
}

func (p *Peer) freePartial() {
	bufpool.Put(p.partial)
	p.partial = nil
}
