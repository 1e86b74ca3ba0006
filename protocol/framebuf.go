package protocol

import "sync"

// An incomplete frame is kept in a buffer whose size depends on the bytes that have arrived, not on
// the announced length, so that a slow peer occupies 4 KiB at most. Buffers of more than the second
// size are not pooled.
const (
	smallFrame = 4 << 10
	largeFrame = 64 << 10
)

var (
	smallFrames = sync.Pool{New: func() any { return new([smallFrame]byte) }}
	largeFrames = sync.Pool{New: func() any { return new([largeFrame]byte) }}
)

// newFrameBuffer returns an empty buffer with a capacity of at least n bytes.
func newFrameBuffer(n int) []byte {
	switch {
	case n <= smallFrame:
		return smallFrames.Get().(*[smallFrame]byte)[:0]
	case n <= largeFrame:
		return largeFrames.Get().(*[largeFrame]byte)[:0]
	}
	return make([]byte, 0, n+n/4)
}

// freeFrameBuffer puts a buffer of newFrameBuffer back.
func freeFrameBuffer(b []byte) {
	switch cap(b) {
	case smallFrame:
		smallFrames.Put((*[smallFrame]byte)(b[:smallFrame]))
	case largeFrame:
		largeFrames.Put((*[largeFrame]byte)(b[:largeFrame]))
	}
}

// appendPartial appends b to the incomplete frame.
//
//go:noinline
func (p *Peer) appendPartial(b []byte) {
	if n := len(p.partial) + len(b); n > cap(p.partial) {
		larger := append(newFrameBuffer(n), p.partial...)
		freeFrameBuffer(p.partial)
		p.partial = larger
	}
	p.partial = append(p.partial, b...)
}

// setPartial reduces the incomplete frame to rest, which is the end of it.
func (p *Peer) setPartial(rest []byte) {
	switch {
	case len(rest) == 0:
		freeFrameBuffer(p.partial)
		p.partial = nil
	case len(rest) <= smallFrame && cap(p.partial) > smallFrame:
		smaller := append(newFrameBuffer(len(rest)), rest...)
		freeFrameBuffer(p.partial)
		p.partial = smaller
	default:
		p.partial = p.partial[:copy(p.partial, rest)]
	}
}
