package transport

import (
	"fmt"

	"goranch/internal/engine"
)

// peekSize is the least number of bytes that Peek reads at once, so that peeking byte by byte does
// not cost a system call for each byte.
const peekSize = 256

// ahead is the data that Peek has read.
type ahead []byte

// peek reads until n bytes are ahead.
func peek(at **ahead, n int, read func([]byte) (int, error)) ([]byte, error) {
	if *at == nil {
		*at = new(ahead)
	}
	err := (*at).fill(n, read)
	b := **at
	if len(b) == 0 {
		*at = nil
	}
	return b, err
}

func (a *ahead) fill(n int, read func([]byte) (int, error)) error {
	if n > engine.MaxPeek {
		return fmt.Errorf("peek: %d bytes: allowed are at most %d", n, engine.MaxPeek)
	}
	for len(*a) < n {
		if cap(*a) < n {
			*a = append(make([]byte, 0, max(n, peekSize, min(2*cap(*a), engine.MaxPeek))), *a...)
		}
		m, err := read((*a)[len(*a):cap(*a)])
		*a = (*a)[:len(*a)+m]
		if err != nil && len(*a) < n {
			return err
		}
	}
	return nil
}

// take moves data that is ahead to p.
func take(at **ahead, p []byte) int {
	n := copy(p, **at)
	discard(at, n)
	return n
}

// discard drops n bytes. When none is left, it frees the buffer.
func discard(at **ahead, n int) {
	if *at == nil {
		return
	}
	if **at = (**at)[n:]; len(**at) == 0 {
		*at = nil
	}
}

func (a *ahead) len() int {
	if a == nil {
		return 0
	}
	return len(*a)
}

// Peek waits until n bytes have arrived and returns them, or more, without consuming them: the next
// Read or WriteTo returns them again. The result is valid until then. If the stream ends or fails
// earlier, Peek returns the bytes that have arrived with the error. n is at most 64 KiB.
//
// Peek is a read: it must not overlap another read, and the read deadline applies.
func (c *Conn) Peek(n int) ([]byte, error) {
	if c.top() == nil {
		b, err := peek(&c.raw.ahead, n, c.raw.Conn.Read)
		return b, c.raw.readError(err)
	}
	l := c.raw.layer.Load()
	b, err := peek(&l.ahead, n, l.top.Read)
	return b, c.raw.readError(err)
}

// isAhead reports whether Peek has left data for the next read.
func (c *Conn) isAhead() bool {
	return c.raw.ahead != nil && c.top() == nil || c.payloadAhead() != nil
}

// payloadAhead returns what Peek has read through a layer; nil if there is nothing.
func (c *Conn) payloadAhead() *ahead {
	if l := c.raw.layer.Load(); l != nil {
		return l.ahead
	}
	return nil
}

// Peek is Conn.Peek for the Handshake of a transport.
func (w *rawConn) Peek(n int) ([]byte, error) {
	b, err := peek(&w.ahead, n, w.Conn.Read)
	return b, w.readError(err)
}
