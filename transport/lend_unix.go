//go:build unix

package transport

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lend returns the means to read without holding a buffer while nothing comes.
func (c *Conn) lend() lender {
	if c.wire.raw == nil {
		return &bufferedLender{c: c}
	}
	r := rawReader{w: &c.wire}
	if c.top == &c.wire {
		l := &plainLender{c: c, rawReader: r}
		l.f = l.try
		return l
	}
	l := &tlsLender{c: c, rawReader: r}
	l.f = l.try
	return l
}

// rawReader reads from the socket into a buffer that it borrows when there is data. The
// buffer is taken inside the poller's callback and given back when the socket is
// empty, so a goroutine that waits holds none, and no system call is spent on asking.
type rawReader struct {
	w   *wire
	buf buffer
	max int
	n   int
	err error
	f   func(fd uintptr) bool // r.try, bound once
}

func (r *rawReader) try(fd uintptr) bool {
	if r.buf == nil {
		r.buf = buffers.Get().(buffer)
	}
	for {
		n, err := unix.Read(int(fd), r.buf[:r.max])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			r.release()
			return false
		case err != nil:
			r.n, r.err = 0, os.NewSyscallError("read", err)
		case n == 0:
			r.n, r.err = 0, io.EOF
		default:
			r.n, r.err = n, nil
		}
		return true
	}
}

// read waits for data and reads up to max bytes into r.buf.
func (r *rawReader) read(max int) error {
	r.max, r.n, r.err = max, 0, nil
	err := r.w.raw.Read(r.f)
	if err == nil {
		err = r.err
	}
	if err == nil || err == io.EOF {
		return err
	}
	return r.w.readError(asOp("read", r.w.Conn, err))
}

func (r *rawReader) release() {
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf = nil
	}
}

type plainLender struct {
	rawReader
	c *Conn
}

func (l *plainLender) next(max int) ([]byte, error) {
	err := l.read(max)
	l.c.countRead(l.n)
	if l.n == 0 {
		return nil, err
	}
	return l.buf[:l.n], err
}

// tlsLender keeps crypto/tls from holding on to a buffer of ours while it waits. The
// wire below answers "not now" instead of blocking, an error that crypto/tls survives
// because it is temporary; the lender then waits for the socket itself, without a
// buffer, and hands what it read to the wire.
type tlsLender struct {
	rawReader // what came from the socket
	c         *Conn
	plain     buffer
}

func (l *tlsLender) next(max int) ([]byte, error) {
	for {
		if l.plain == nil {
			l.plain = buffers.Get().(buffer)
		}
		l.w.stash = stash{on: true, data: l.w.stash.data, err: l.w.stash.err}
		n, err := l.c.top.Read(l.plain[:max])
		l.w.stash.on = false
		if err != errNotNow {
			l.c.countRead(n)
			if err != nil && err != io.EOF {
				err = l.w.readError(err)
			}
			return l.plain[:n], err
		}
		l.releasePlain()
		l.rawReader.release()
		err = l.read(bufferSize)
		if l.n > 0 {
			l.w.stash.data = l.buf[:l.n]
		}
		l.w.stash.err = err
	}
}

func (l *tlsLender) releasePlain() {
	if l.plain != nil {
		buffers.Put(l.plain)
		l.plain = nil
	}
}

// release gives the buffers back, but what TLS has not taken yet must not be lost.
func (l *tlsLender) release() {
	l.releasePlain()
	l.w.stash.data = append([]byte(nil), l.w.stash.data...)
	l.rawReader.release()
}

// discard drops what the socket has received so far, without waiting.
func (c *Conn) discard() {
	if c.wire.raw == nil {
		return
	}
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	c.wire.raw.Control(func(fd uintptr) {
		for range 16 { // 1 MiB: enough for what was under way, too little for a flood to hold us
			if n, err := unix.Read(int(fd), b[:]); n <= 0 && err != unix.EINTR {
				return
			}
		}
	})
}
