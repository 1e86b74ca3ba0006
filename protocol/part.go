package protocol

import "sync"

// The beginning of a frame is kept in a buffer of the size of what has arrived, not of what is
// announced, so that a slow peer holds 4 KiB and no more. Longer beginnings than the
// second class has room for are left to the garbage collector.
const (
	smallPart = 4 << 10
	largePart = 64 << 10
)

var (
	smallParts = sync.Pool{New: func() any { return new([smallPart]byte) }}
	largeParts = sync.Pool{New: func() any { return new([largePart]byte) }}
)

// newPart returns an empty buffer for n bytes or more.
func newPart(n int) []byte {
	switch {
	case n <= smallPart:
		return smallParts.Get().(*[smallPart]byte)[:0]
	case n <= largePart:
		return largeParts.Get().(*[largePart]byte)[:0]
	}
	return make([]byte, 0, n+n/4)
}

// freePart gives a buffer of newPart back.
func freePart(b []byte) {
	switch cap(b) {
	case smallPart:
		smallParts.Put((*[smallPart]byte)(b[:smallPart]))
	case largePart:
		largeParts.Put((*[largePart]byte)(b[:largePart]))
	}
}

// keep puts b behind what has arrived of a frame.
//
//go:noinline
func (p *Peer) keep(b []byte) {
	if n := len(p.part) + len(b); n > cap(p.part) {
		larger := append(newPart(n), p.part...)
		freePart(p.part)
		p.part = larger
	}
	p.part = append(p.part, b...)
}

// kept makes rest, which is the end of p.part, all that is left of it.
func (p *Peer) kept(rest []byte) {
	switch {
	case len(rest) == 0:
		freePart(p.part)
		p.part = nil
	case len(rest) <= smallPart && cap(p.part) > smallPart:
		smaller := append(newPart(len(rest)), rest...)
		freePart(p.part)
		p.part = smaller
	default:
		p.part = p.part[:copy(p.part, rest)]
	}
}
