//go:build unix

package transport

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// rawLender returns nil where we cannot call read ourselves.
func (c *Conn) rawLender() Lender {
	if c.wire.raw == nil {
		return nil
	}
	l := &rawLender{c: c}
	l.f = l.try
	return l
}

// rawLender takes the buffer inside the poller's callback and gives it back when the
// socket is empty, so a goroutine that waits holds none, and no system call is spent on
// asking.
type rawLender struct {
	borrowed
	c   *Conn
	max int
	n   int
	err error
	f   func(fd uintptr) bool // l.try, bound once
}

func (l *rawLender) Next(max int) ([]byte, error) {
	w := &l.c.wire
	l.max, l.n, l.err = max, 0, nil
	err := w.raw.Read(l.f)
	if err == nil {
		err = l.err
	}
	if err != nil && err != io.EOF {
		if err = w.readError(asOp("read", w.Conn, err)); err == ErrResting {
			return nil, err
		}
	}
	l.c.countRead(l.n, l.data(), err)
	return l.data(), err
}

func (l *rawLender) data() []byte {
	if l.n == 0 {
		return nil
	}
	return l.buf[:l.n]
}

func (l *rawLender) try(fd uintptr) bool {
	l.borrow()
	for {
		n, err := unix.Read(int(fd), l.buf[:l.max])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			l.Release()
			return false
		case err != nil:
			l.err = os.NewSyscallError("read", err)
		case n == 0:
			l.err = io.EOF
		default:
			l.n = n
		}
		return true
	}
}

// discard drops what the socket has received so far, without waiting, and reports
// whether that was anything.
func (c *Conn) discard() (some bool) {
	if c.wire.raw == nil {
		return false
	}
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	c.wire.raw.Control(func(fd uintptr) {
		for range 16 { // 1 MiB: enough for what was under way, too little for a flood to hold us
			n, err := unix.Read(int(fd), b[:])
			if n <= 0 && err != unix.EINTR {
				return
			}
			some = some || n > 0
		}
	})
	return some
}
