package transport

import (
	"crypto/tls"
	"net"
	"sync"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// pooledReader returns a reader that holds no buffer while it waits.
//
//go:noinline
func (c *Conn) pooledReader(inline *idle.InlinePolicy) engine.PooledReader {
	if c.isAhead() {
		return &aheadReader{c.pooled(inline), c}
	}
	return c.pooled(inline)
}

func (c *Conn) pooled(inline *idle.InlinePolicy) engine.PooledReader {
	if tc, ok := c.top().(*tls.Conn); ok && tc.NetConn() == net.Conn(&c.raw) {
		return &tlsReader{c: c, tls: tc}
	}
	if c.top() == nil {
		if r := c.rawReader(inline); r != nil {
			return r
		}
	}
	return &plainReader{c: c}
}

// aheadReader first returns the data that Peek has read.
type aheadReader struct {
	engine.PooledReader
	c *Conn
}

func (r *aheadReader) Next(max int) ([]byte, error) {
	if !r.c.isAhead() {
		return r.PooledReader.Next(max)
	}
	b := make([]byte, min(max, peekSize))
	n, err := r.c.Read(b)
	return b[:n], err
}

// readBuffers are pools of buffers of 4, 16 and 64 KiB.
var readBuffers [3]sync.Pool

func readBufferSize(class int) int { return 4 << 10 << (2 * class) }

type readBuffer struct {
	data  []byte
	class int
}

// pooledBuffer holds a buffer from readBuffers, or none. Its size depends on what the last read has
// received: a callback that waits keeps the buffer, so clients that send little must not make it
// keep a large one.
type pooledBuffer struct {
	buf   *readBuffer
	class int // of the next buffer
}

// take returns a buffer of at most max bytes for the next read.
func (b *pooledBuffer) take(max int) []byte {
	for b.class > 0 && readBufferSize(b.class-1) >= max {
		b.class--
	}
	if b.buf == nil || b.buf.class != b.class {
		b.Release()
		var ok bool
		if b.buf, ok = readBuffers[b.class].Get().(*readBuffer); !ok {
			b.buf = &readBuffer{make([]byte, readBufferSize(b.class)), b.class}
		}
	}
	return b.buf.data[:min(max, len(b.buf.data))]
}

// filled records that n bytes were read. After a read that has filled its buffer, the next buffer
// is larger.
func (b *pooledBuffer) filled(n int) {
	b.class = 0
	for b.class < len(readBuffers)-1 && n >= readBufferSize(b.class) {
		b.class++
	}
}

// Free is Release, unless the reader itself is pooled.
func (b *pooledBuffer) Free() { b.Release() }

func (b *pooledBuffer) Release() {
	if b.buf != nil {
		readBuffers[b.buf.class].Put(b.buf)
		b.buf = nil
	}
}

// plainReader reads connections on which this package makes no system calls. It holds its buffer
// while it waits, unless the connection is an engine.ReadableWaiter.
type plainReader struct {
	pooledBuffer
	c *Conn
}

func (r *plainReader) Next(max int) ([]byte, error) {
	carrier := r.c.top() // it may hold data or an error of its own
	if carrier == nil {
		carrier = r.c.raw.Conn
	}
	if w, ok := carrier.(engine.ReadableWaiter); ok {
		r.Release()
		w.WaitReadable()
	}
	b := r.take(max)
	n, err := r.c.Read(b)
	r.filled(n)
	return b[:n], err
}

// tlsReader waits with a buffer of one byte. It then reads the rest of the record, which crypto/tls
// has already received. If the record has no more bytes, the raw connection returns errWouldBlock
// instead of waiting. crypto/tls keeps the connection usable after that error because its Temporary
// method returns true; TestCryptoTLSSurvivesTemporaryReadErrors guards this.
type tlsReader struct {
	pooledBuffer
	c     *Conn
	tls   *tls.Conn
	first [1]byte
}

func (r *tlsReader) Next(max int) ([]byte, error) {
	r.Release()
	f := r.c.raw.limited()
	if f != nil {
		max = f.in.MaxPiece(max)
	}
	n, err := r.tls.Read(r.first[:])
	if n == 0 || err != nil || max == 1 {
		if err = r.c.raw.readError(err); err != idle.ErrPark {
			r.c.countRead(n, r.first[:], err)
		}
		if f != nil {
			r.c.raw.throttleRead(f, n)
		}
		return r.first[:n], err
	}
	b := r.take(max)
	b[0] = r.first[0]
	r.c.raw.layer.Load().nonblocking = true
	n, err = r.tls.Read(b[1:])
	r.c.raw.layer.Load().nonblocking = false
	if err == errWouldBlock {
		err = nil
	}
	n++
	r.filled(n)
	r.c.countRead(n, b, err)
	if f != nil {
		r.c.raw.throttleRead(f, n)
	}
	return b[:n], r.c.raw.readError(err)
}

// errWouldBlock is the error of a read that would have to wait for the socket.
var errWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no data is available without waiting" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }
