package transport

import (
	"crypto/tls"
	"net"
)

// lender reads into buffers that it borrows. What next returns, at most max bytes, is
// valid until the next call; release gives back what is still held.
type lender interface {
	next(max int) ([]byte, error)
	release()
}

// lend returns the means to read without holding a buffer while nothing comes.
func (c *Conn) lend() lender {
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

func (b *borrowed) release() {
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

func (l *plainLender) next(max int) ([]byte, error) {
	// What lies above the wire may hold data, or an error, that the wire knows nothing of.
	if w, ok := l.c.wire.Conn.(waiter); ok && l.c.top == &l.c.wire {
		l.release()
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

func (l *tlsLender) next(max int) ([]byte, error) {
	l.release()
	n, err := l.tls.Read(l.first[:])
	if n == 0 || err != nil || max == 1 {
		l.c.countRead(n, l.first[:], err)
		return l.first[:n], l.c.wire.readError(err)
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
