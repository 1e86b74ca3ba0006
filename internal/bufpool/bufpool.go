// Package bufpool provides pooled buffers for data that arrives in pieces of unknown number. Their
// sizes are powers of two, so that a buffer which grows with its data is at most twice as large.
package bufpool

import (
	"math/bits"
	"sync"
)

const (
	minSize = 512
	classes = 10 // buffers of more than 256 KiB are left to the garbage collector
)

var pools [classes]sync.Pool

func class(n int) int { return bits.Len(uint(max(n, 1)-1) / minSize) }

// Size returns the capacity of a buffer for n bytes.
func Size(n int) int { return minSize << class(n) }

// Get returns an empty buffer for n bytes.
func Get(n int) []byte {
	if c := class(n); c < classes {
		if b, ok := pools[c].Get().(*[]byte); ok {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, Size(n))
}

// Grow returns a buffer for n bytes with the data of b, which is put back: b must not be used any
// more. If b has the capacity, it is returned itself.
func Grow(b []byte, n int) []byte {
	if n <= cap(b) {
		return b
	}
	larger := append(Get(n), b...)
	Put(b)
	return larger
}

// Put returns a buffer of Get, which must not be used any more. nil has no effect.
func Put(b []byte) {
	if c := class(cap(b)); c < classes && cap(b) == Size(cap(b)) {
		kept := b // not the address of b, which would allocate it in each call
		pools[c].Put(&kept)
	}
}
