package transport

import (
	"net"
	"os"
	"time"

	"goranch/internal/throttle"
)

// flows are the two directions of a connection whose bytes per second are limited. They remain when
// the limits are removed, because a Write in progress holds writing.
type flows struct {
	in, out throttle.Flow
	// writing is a lock that guards out and keeps the pieces of one Write together. It is a channel
	// because it is held while a write waits: in a bubble of testing/synctest, a goroutine that
	// waits for a mutex would stop the clock.
	writing chan struct{}
}

func (f *flows) lock()   { f.writing <- struct{}{} }
func (f *flows) unlock() { <-f.writing }

func (f *flows) tryLock() bool {
	select {
	case f.writing <- struct{}{}:
		return true
	default:
		return false
	}
}

// limitRates makes l limit the bytes per second of the connection, from the next read and write on.
func (c *Conn) limitRates(l *throttle.Limits) {
	if c.raw.limited() != nil {
		return
	}
	f := &flows{writing: make(chan struct{}, 1)}
	f.in.Init(l, throttle.Receive)
	f.out.Init(l, throttle.Send)
	c.raw.needExtras().flows.CompareAndSwap(nil, f)
}

// throttled returns how often reads had to wait, and whether reads and writes wait now.
func (c *Conn) throttled() (waits uint32, reads, writes bool) {
	f := c.raw.limited()
	if f == nil {
		return 0, false, false
	}
	reads, waits = f.in.Waiting()
	writes, _ = f.out.Waiting()
	return waits, reads, writes
}

// wakeFlows makes waiting transfers check deadlines, the stop and the end again.
func (w *rawConn) wakeFlows() {
	if f := w.limited(); f != nil {
		f.in.Wake()
		f.out.Wake()
	}
}

// readSide and writeSide implement throttle.Owner.
type (
	readSide  rawConn
	writeSide rawConn
)

func (r *readSide) Limit() (until time.Time, stopped bool) { return r.reads.Limit() }

func (s *writeSide) Limit() (until time.Time, stopped bool) {
	if s.reads.Closed() {
		return until, true
	}
	if d := s.writeLimits.Load(); d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		until = d.user
	}
	return until, false
}

// throttleRead waits until the n bytes of a read are allowed, or reads are to fail. It returns no
// error, because the data was received and is returned in any case.
//
//go:noinline
func (w *rawConn) throttleRead(f *flows, n int) { f.in.Acquire(n, (*readSide)(w)) }

// throttleWrite waits until n bytes may be written, or returns the error of a write that has waited
// too long. f is locked.
func (w *rawConn) throttleWrite(f *flows, n int) error {
	switch {
	case f.out.Acquire(n, (*writeSide)(w)):
		return nil
	case w.reads.Closed():
		return opError("write", w.Conn, net.ErrClosed)
	}
	return opError("write", w.Conn, os.ErrDeadlineExceeded)
}

// writeLimited is Write in pieces, each of which waits until it is allowed. The send timeout does
// not run during these waits.
//
//go:noinline
func (c *Conn) writeLimited(f *flows, p []byte) (n int, err error) {
	f.lock()
	defer f.unlock()
	for {
		piece := p[n : n+f.out.MaxPiece(len(p)-n)]
		if err := c.raw.throttleWrite(f, len(piece)); err != nil {
			return n, err
		}
		var m int
		if c.top() == nil {
			m, err = c.raw.write(piece)
		} else {
			m, err = c.writeRecords(piece)
		}
		c.countWrite(m, piece, err)
		if n += m; err != nil || n >= len(p) {
			return n, err
		}
	}
}

// tryLimited is tryNow for as many bytes as are allowed now.
func (c *Conn) tryLimited(f *flows, p []byte) (n int, err error) {
	if !f.tryLock() {
		return 0, nil
	}
	defer f.unlock()
	most := f.out.Take(len(p))
	if most == len(p) || most > 0 && c.top() == nil { // a record is written as a whole
		n, err = c.tryNow(p[:most])
	}
	f.out.Refund(most - n)
	return n, err
}

// writeDirect is Write for the records of a TLS connection that is used directly; see tlsConn.
func (w *rawConn) writeDirect(f *flows, p []byte) (n int, err error) {
	f.lock()
	defer f.unlock()
	for n < len(p) && err == nil {
		piece := p[n : n+f.out.MaxPiece(len(p)-n)]
		if err := w.throttleWrite(f, len(piece)); err != nil {
			return n, err
		}
		var m int
		m, err = w.write(piece)
		w.wire().countWrite(m, piece, err)
		n += m
	}
	return n, err
}

// sendPiece waits until up to n bytes are allowed, and calls send, which transfers them in the
// kernel. It returns the number of bytes sent, and how many were to be sent.
func (c *Conn) sendPiece(n int64, send func(n int64) (int64, error)) (sent, most int64, err error) {
	f := c.raw.limited()
	if f == nil {
		sent, err = send(n)
		return sent, n, err
	}
	f.lock()
	defer f.unlock()
	most = int64(f.out.MaxPiece(int(min(n, bufferSize))))
	if err := c.raw.throttleWrite(f, int(most)); err != nil {
		return 0, most, err
	}
	sent, err = send(most)
	f.out.Refund(int(most - sent))
	return sent, most, err
}
