package transport

import "sync/atomic"

// closing counts the calls of Close and Abort that have not returned. close(2) may take some time,
// and the end of a connection must not be reported before its socket is closed.
type closing struct{ v atomic.Uint32 }

const closedBit = 1 << 31 // there was a call

// beginClose reports whether it is the first call.
func (c *Conn) beginClose() (first bool) {
	c.closing.v.Add(1)
	return c.closing.v.Or(closedBit)&closedBit == 0
}

func (c *Conn) endClose() {
	if c.closing.v.Add(^uint32(0)) != closedBit {
		return
	}
	if x := c.raw.extras.Load(); x != nil {
		if ended := x.closed.Swap(nil); ended != nil {
			close(*ended)
		}
	}
}

// awaitClose waits until no call is in progress.
func (c *Conn) awaitClose() {
	for c.closing.v.Load() != closedBit {
		x := c.raw.needExtras()
		ended := new(chan struct{})
		*ended = make(chan struct{})
		if !x.closed.CompareAndSwap(nil, ended) {
			ended = x.closed.Load()
		}
		if ended == nil || c.closing.v.Load() == closedBit {
			continue
		}
		<-*ended
	}
}
