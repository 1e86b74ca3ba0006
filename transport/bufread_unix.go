//go:build unix

package transport

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"goranch/internal/engine"
	"goranch/internal/idle"
)

// rawReader returns nil if this package makes no system calls on the connection.
func (c *Conn) rawReader() engine.PooledReader {
	if c.raw.sys == nil {
		return nil
	}
	r := &rawReader{c: c}
	r.f = r.try
	return r
}

// rawReader takes a buffer inside the callback of the runtime's poller, and returns it to the pool
// if the socket is empty. A waiting goroutine thus holds no buffer, and no extra system call asks
// whether there is data.
type rawReader struct {
	pooledBuffer
	c   *Conn
	max int
	b   []byte // the data of the last read
	err error
	f   func(fd uintptr) bool // try, bound once to avoid an allocation for each read
}

func (r *rawReader) Next(max int) ([]byte, error) {
	w := &r.c.raw
	f := w.flows.Load()
	if f != nil {
		max = f.in.Most(max)
	}
	r.max, r.b, r.err = max, nil, nil
	err := w.sys.Read(r.f)
	if err == nil {
		err = r.err
	}
	if err != nil && err != io.EOF {
		if err = w.readError(asOp("read", w.Conn, err)); err == idle.ErrPark {
			return nil, err
		}
	}
	r.c.countRead(len(r.b), r.b, err)
	if f != nil {
		w.payRead(f, len(r.b))
	}
	return r.b, err
}

func (r *rawReader) try(fd uintptr) bool {
	b := r.take(r.max)
	n, err := receive(int(fd), b)
	switch {
	case err == unix.EAGAIN:
		r.Release()
		return false
	case err != 0:
		r.err = os.NewSyscallError("read", err)
	case n == 0:
		r.err = io.EOF
	default:
		r.b = b[:n]
		r.filled(n)
	}
	return true
}

// discard drops the data that the socket has received, without waiting, and reports whether there
// was any.
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
