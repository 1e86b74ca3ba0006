package transport

import "fmt"

// MaxPeek is how many bytes Peek can look at.
const MaxPeek = 64 << 10

// peekSize is what Peek reads at least, so that looking at one byte after the other
// does not cost a system call for each.
const peekSize = 256

// ahead is what was read of a stream before its reader asked for it.
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
	if n > MaxPeek {
		return fmt.Errorf("peek at %d bytes: at most %d can be looked at", n, MaxPeek)
	}
	for len(*a) < n {
		if cap(*a) < n {
			*a = append(make([]byte, 0, max(n, peekSize, min(2*cap(*a), MaxPeek))), *a...)
		}
		m, err := read((*a)[len(*a):cap(*a)])
		*a = (*a)[:len(*a)+m]
		if err != nil && len(*a) < n {
			return err
		}
	}
	return nil
}

// take moves what is ahead to p, as much as fits.
func take(at **ahead, p []byte) int {
	n := copy(p, **at)
	discard(at, n)
	return n
}

// discard drops n bytes. Nothing is held for a connection that needs it no more.
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

// Peek waits until n bytes have arrived, and returns them, or more, without taking them:
// the next Read or WriteTo gets them again. What it returns is valid until then. If the
// stream ends before, or fails, what came so far is returned with the error. n is at
// most [MaxPeek].
//
// It counts as a read, of which there is one at a time; the read deadline holds.
func (c *Conn) Peek(n int) ([]byte, error) {
	if c.top == &c.raw {
		b, err := peek(&c.raw.ahead, n, c.raw.Conn.Read)
		return b, c.raw.readError(err)
	}
	b, err := peek(&c.ahead, n, c.top.Read)
	return b, c.raw.readError(err)
}

// isAhead reports whether Peek has left something for the next read.
func (c *Conn) isAhead() bool { return c.raw.ahead != nil && c.top == &c.raw || c.ahead != nil }

// Peek waits until n bytes have arrived and returns them, or more, without taking them:
// for transports, in their Handshake.
func (w *rawConn) Peek(n int) ([]byte, error) {
	b, err := peek(&w.ahead, n, w.Conn.Read)
	return b, w.readError(err)
}

// Discard takes n bytes that were returned by Peek.
func (w *rawConn) Discard(n int) { discard(&w.ahead, n) }
