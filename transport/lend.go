package transport

import (
	"crypto/tls"
	"net"
)

// LendSize is how much a [Lender] returns at most.
const LendSize = bufferSize

// Lender reads a connection into buffers that it borrows, and holds none while it waits. It is
// for one goroutine.
type Lender interface {
	// Next waits for data and returns what has arrived, at most max bytes; max is 1 to
	// [LendSize]. It is valid until the next call, and may be changed. With data there may be an error
	// as well, which is io.EOF at the end of the stream; see also [ErrResting].
	Next(max int) ([]byte, error)
	// Release gives back what is still held.
	Release()
}

// Lend returns the means to read without holding a buffer while nothing comes, as WriteTo does,
// for those who want to be asked. Until it is released nobody else may read.
//
//go:noinline
func (c *Conn) Lend() Lender {
	if c.isAhead() {
		return &aheadLender{c.lend(), c}
	}
	return c.lend()
}

// aheadLender returns what Peek has left before anything else.
type aheadLender struct {
	Lender
	c *Conn
}

func (l *aheadLender) Next(max int) ([]byte, error) {
	if !l.c.isAhead() {
		return l.Lender.Next(max)
	}
	b := make([]byte, min(max, peekSize))
	n, err := l.c.Read(b)
	return b[:n], err
}

func (c *Conn) lend() Lender {
	if tc, ok := c.top.(*tls.Conn); ok && tc.NetConn() == net.Conn(&c.wire) {
		return &tlsLender{c: c, tls: tc}
	}
	if c.top == &c.wire {
		if l := c.rawLender(); l != nil {
			return l
		}
	}
	return &plainLender{c: c}
}

// borrowed is a buffer from the pool, or none.
type borrowed struct{ buf buffer }

func (b *borrowed) borrow() {
	if b.buf == nil {
		b.buf = buffers.Get().(buffer)
	}
}

func (b *borrowed) Release() {
	if b.buf != nil {
		buffers.Put(b.buf)
		b.buf = nil
	}
}

// waiter is a connection that can be waited for without reading it; in-memory ones are.
type waiter interface {
	waitReadable()
}

// plainLender serves connections on which we make no system calls of our own. Unless
// they can be waited for, it has to hold its buffer.
type plainLender struct {
	borrowed
	c *Conn
}

func (l *plainLender) Next(max int) ([]byte, error) {
	// What lies above the wire may hold data, or an error, that the wire knows nothing of.
	if w, ok := l.c.wire.Conn.(waiter); ok && l.c.top == &l.c.wire {
		l.Release()
		w.waitReadable()
	}
	l.borrow()
	n, err := l.c.Read(l.buf[:max])
	return l.buf[:n], err
}

// tlsLender waits with a buffer of one byte. The rest of a record is read after it,
// for which the socket is not needed; should there be no rest, the wire below answers
// "not now" instead of waiting, an error that crypto/tls survives because it is
// temporary.
type tlsLender struct {
	borrowed
	c     *Conn
	tls   *tls.Conn
	first [1]byte
}

func (l *tlsLender) Next(max int) ([]byte, error) {
	l.Release()
	n, err := l.tls.Read(l.first[:])
	if n == 0 || err != nil || max == 1 {
		if err = l.c.wire.readError(err); err != ErrResting {
			l.c.countRead(n, l.first[:], err)
		}
		return l.first[:n], err
	}
	l.borrow()
	l.buf[0] = l.first[0]
	l.c.wire.notNow = true
	n, err = l.tls.Read(l.buf[1:max])
	l.c.wire.notNow = false
	if err == errNotNow {
		err = nil
	}
	l.c.countRead(1+n, l.buf[:], err)
	return l.buf[:1+n], l.c.wire.readError(err)
}

// errNotNow says that the socket was not asked.
var errNotNow error = notNow{}

type notNow struct{}

func (notNow) Error() string   { return "nothing to read at present" }
func (notNow) Timeout() bool   { return false }
func (notNow) Temporary() bool { return true }

// Read is what TLS reads through. Plain payload comes this way only while some is ahead.
func (w *wire) Read(p []byte) (int, error) {
	if w.ahead != nil {
		return take(&w.ahead, p), nil
	}
	if w.notNow {
		return 0, errNotNow
	}
	return w.Conn.Read(p)
}
