//go:build unix

package transport

import (
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// rawReader returns nil if this package makes no system calls on the connection.
func (c *Conn) rawReader(inline *idle.InlinePolicy) engine.PooledReader {
	if c.raw.sys == nil {
		return nil
	}
	r := rawReaders.Get().(*rawReader)
	r.c, r.inline = c, inline
	return r
}

var rawReaders = sync.Pool{New: func() any {
	r := new(rawReader)
	r.f = r.try
	return r
}}

func (r *rawReader) Free() {
	r.Release()
	*r = rawReader{f: r.f}
	rawReaders.Put(r)
}

// rawReader takes a buffer inside the callback of the runtime's poller, and returns it to the pool
// if the socket is empty. A waiting goroutine thus holds no buffer, and no extra system call asks
// whether there is data.
type rawReader struct {
	pooledBuffer
	c      *Conn
	inline *idle.InlinePolicy // nil: wait for data
	n      int                // reads that have returned data
	wait   bool               // counted in waiting
	max    int
	b      []byte // the data of the last read
	err    error
	f      func(fd uintptr) bool // try, bound once to avoid an allocation for each read
}

func (r *rawReader) Next(max int) ([]byte, error) {
	w := &r.c.raw
	f := w.limited()
	if f != nil {
		max = f.in.MaxPiece(max)
	}
	r.max, r.b, r.err = max, nil, nil
	err := w.sys.Read(r.f)
	if r.wait {
		r.wait = false
		waiting.Add(-1)
	}
	if err == nil {
		err = r.err
	}
	if err == idle.ErrPark {
		return nil, err
	}
	if err != nil && err != io.EOF {
		if err = w.readError(err); err == idle.ErrPark {
			return nil, err
		}
		err = asOp("read", w.Conn, err)
	}
	r.c.countRead(len(r.b), r.b, err)
	if f != nil {
		w.throttleRead(f, len(r.b))
	}
	return r.b, err
}

func (r *rawReader) try(fd uintptr) bool {
	b := r.take(r.max)
	n, err := receive(int(fd), b)
	switch {
	case err == unix.EAGAIN:
		r.Release()
		if !r.shouldPark() {
			return false
		}
		r.err = idle.ErrPark
	case err != 0:
		r.err = os.NewSyscallError("read", err)
	case n == 0:
		r.err = io.EOF
	default:
		r.b = b[:n]
		r.filled(n)
		r.n++
	}
	return true
}

// parkAfterReads is the number of reads with data after which a connection is parked instead of
// waiting. Registering the socket costs as much as it saves in some reads, so it does not pay for
// short connections, unless maxWaiting goroutines wait already: a goroutine takes more than 2 KiB,
// and the runtime never frees its descriptor of 492 bytes.
const (
	parkAfterReads = 4
	maxWaiting     = 256
)

// waiting is the number of goroutines of this process that wait in Next with an inline policy. It
// includes those whose connection cannot be parked now, because it has a deadline or its protocol is
// slow: they take as much memory.
var waiting atomic.Int32

// shouldPark reports whether the connection is to be parked. Otherwise it counts the goroutine,
// which is about to wait.
func (r *rawReader) shouldPark() bool {
	if r.inline == nil {
		return false
	}
	if (r.n >= parkAfterReads || waiting.Load() >= maxWaiting) && r.inline.Allows() && (*engineConn)(r.c).CanPark() {
		return true
	}
	if !r.wait {
		r.wait = true
		waiting.Add(1)
	}
	return false
}

// tryReader reads the connections that a lead finds readable.
type tryReader struct {
	buf [engine.ReadSize]byte
	max int
	n   int
	err error
	f   func(fd uintptr) // try
}

func (c *Conn) tryNext(l *idle.Lead, max int) (b []byte, more bool, err error) {
	r, _ := l.Reader.(*tryReader)
	if r == nil {
		r = new(tryReader)
		r.f = r.try
		l.Reader = r
	}
	r.max, r.n, r.err = max, 0, nil
	if err = c.raw.sys.Control(r.f); err == nil {
		err = r.err
	}
	switch err {
	case nil, io.EOF:
	case idle.ErrPark:
		return nil, false, err
	default:
		err = asOp("read", c.raw.Conn, err)
	}
	b = r.buf[:r.n]
	c.countRead(r.n, b, err)
	return b, r.n == max || l.More, err
}

func (r *tryReader) try(fd uintptr) {
	n, err := receive(int(fd), r.buf[:r.max])
	switch {
	case err == unix.EAGAIN:
		r.err = idle.ErrPark
	case err != 0:
		r.err = os.NewSyscallError("read", err)
	case n == 0:
		r.err = io.EOF
	default:
		r.n = n
	}
}

// discard reads and drops the data that the socket has received, without waiting, and reports
// whether there was any.
func (c *Conn) discard() (some bool) {
	if c.raw.sys == nil {
		return false
	}
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	c.raw.sys.Control(func(fd uintptr) {
		for range 16 { // 1 MiB is more than is in flight; a flood must not keep the loop running
			n, err := unix.Read(int(fd), b[:])
			if n <= 0 && err != unix.EINTR {
				return
			}
			some = some || n > 0
		}
	})
	return some
}
