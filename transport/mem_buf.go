package transport

import "sync"

// memBuf is a ring buffer. It is never empty while a memHalf uses it.
type memBuf struct {
	data []byte
	r, n int
}

const memBufMax = 64 << 10

var memBufPools [5]sync.Pool // of buffers of 256 B, 1, 4, 16 and 64 KiB

func memBufClass(size int) (class, capacity int) {
	capacity = 256
	for capacity < size && capacity < memBufMax {
		capacity *= 4
		class++
	}
	return class, capacity
}

func getMemBuf(size int) *memBuf {
	class, capacity := memBufClass(size)
	if b, ok := memBufPools[class].Get().(*memBuf); ok {
		return b
	}
	return &memBuf{data: make([]byte, capacity)}
}

func putMemBuf(b *memBuf) {
	b.r, b.n = 0, 0
	class, _ := memBufClass(len(b.data))
	memBufPools[class].Put(b)
}

// grow returns a buffer with the same data and space for more bytes, up to memBufMax. It returns b
// if b has enough space or the largest size.
func (b *memBuf) grow(more int) *memBuf {
	if b.n+more <= len(b.data) || len(b.data) == memBufMax {
		return b
	}
	bigger := getMemBuf(b.n + more)
	bigger.n = b.read(bigger.data)
	putMemBuf(b)
	return bigger
}

func (b *memBuf) read(p []byte) int {
	p = p[:min(len(p), b.n)]
	first := copy(p, b.data[b.r:])
	copy(p[first:], b.data)
	b.skip(len(p))
	return len(p)
}

func (b *memBuf) skip(n int) {
	b.r = (b.r + n) % len(b.data)
	b.n -= n
}

func (b *memBuf) write(p []byte) int {
	p = p[:min(len(p), len(b.data)-b.n)]
	w := (b.r + b.n) % len(b.data)
	first := copy(b.data[w:], p)
	copy(b.data, p[first:])
	b.n += len(p)
	return len(p)
}
