package transport

import (
	"fmt"
	"io"
)

// MaxPeek is how many bytes Peek can look at.
const MaxPeek = 64 << 10

// peekSize is what Peek reads at least, so that looking at one byte after the other
// does not cost a system call for each.
const peekSize = 256

// ahead is what was read of a stream before its reader asked for it.
type ahead []byte

// peek reads until n bytes are ahead.
func (a *ahead) peek(n int, read func([]byte) (int, error)) ([]byte, error) {
	if n > MaxPeek {
		return *a, fmt.Errorf("peek at %d bytes: at most %d can be looked at", n, MaxPeek)
	}
	for len(*a) < n {
		if cap(*a) < n {
			*a = append(make([]byte, 0, max(n, peekSize, min(2*cap(*a), MaxPeek))), *a...)
		}
		m, err := read((*a)[len(*a):cap(*a)])
		*a = (*a)[:len(*a)+m]
		if err != nil && len(*a) < n {
			return *a, err
		}
	}
	return *a, nil
}

// take moves what is ahead to p, as much as fits.
func (a *ahead) take(p []byte) int {
	n := copy(p, *a)
	a.discard(n)
	return n
}

func (a *ahead) discard(n int) {
	if *a = (*a)[n:]; len(*a) == 0 {
		*a = nil // nothing is held for a connection that needs it no more
	}
}

// Peek waits until n bytes have arrived, and returns them, or more, without taking them:
// the next Read or WriteTo gets them again. What it returns is valid until then. If the
// stream ends before, or fails, what came so far is returned with the error. n is at
// most [MaxPeek].
//
// It counts as a read, of which there is one at a time; the read deadline holds.
func (c *Conn) Peek(n int) ([]byte, error) {
	if c.top == &c.wire {
		b, err := c.wire.ahead.peek(n, c.wire.Conn.Read)
		return b, c.wire.readError(err)
	}
	b, err := c.ahead.peek(n, c.top.Read)
	return b, c.wire.readError(err)
}

// isAhead reports whether Peek has left something for the next read.
func (c *Conn) isAhead() bool { return len(c.wire.ahead) > 0 && c.top == &c.wire || len(c.ahead) > 0 }

// writeAhead writes to w what Peek has left, up to limit bytes, all if it is negative.
func (c *Conn) writeAhead(w io.Writer, limit int64) (n int64, err error) {
	for c.isAhead() && limit != n {
		p := make([]byte, peekSize)
		if limit >= 0 {
			p = p[:min(limit-n, peekSize)]
		}
		m, err := c.Read(p)
		if err != nil {
			return n, err
		}
		k, err := w.Write(p[:m])
		n += int64(k)
		if err == nil && k < m {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Peek waits until n bytes have arrived and returns them, or more, without taking them:
// for transports, in their Handshake.
func (w *wire) Peek(n int) ([]byte, error) {
	b, err := w.ahead.peek(n, w.Conn.Read)
	return b, w.readError(err)
}

// Discard takes n bytes that were returned by Peek.
func (w *wire) Discard(n int) { w.ahead.discard(n) }
