package transport

import (
	"errors"
	"time"
)

// ErrResting is what [Lender.Next] returns when nothing has come, because [Conn.Rest] has asked
// for that. The connection is as it was.
var ErrResting = errors.New("nothing has come for a while")

// Waker is told that a connection which was parked has something to read.
type Waker interface {
	// Wake is called once for each time the connection was parked, by a goroutine on which others depend: it
	// starts one of its own, and must neither wait nor use the connection.
	Wake()
}

// Rest asks the goroutine that waits in a [Lender]'s Next to come back from there with
// [ErrResting], so that the connection can be parked. It reports whether it has asked: not if
// the connection cannot be parked, is, is being upgraded or closed, or has a read deadline.
// It is for whoever runs a protocol that is prepared for it; see protocol.Sleeper.
func (c *Conn) Rest() bool {
	w := &c.wire
	if !canPark || w.raw == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resting || !c.parkable() {
		return false
	}
	w.resting = true
	w.Conn.SetReadDeadline(time.Unix(1, 0))
	return true
}

// Park leaves the connection to the lot, without a goroutine of its own, until there is something to read
// or reads are to fail; then wk is told, who goes on reading. The goroutine that owns the
// connection calls it, after Next has returned [ErrResting], and must not touch the connection any
// more. If Park returns false it has to go on itself. Linux only, and only on sockets.
func (c *Conn) Park(wk Waker) bool {
	w := &c.wire
	if !canPark || w.raw == nil || c.isAhead() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.parkable() {
		return false
	}
	parked := false
	w.raw.Control(func(fd uintptr) {
		if parked = parkingLot.add(int(fd), c, wk); parked {
			w.parked = int32(fd) + 1
		}
	})
	return parked
}

// parkable reports whether nothing speaks against it. w.mu is held.
func (c *Conn) parkable() bool {
	w := &c.wire
	return w.parked == 0 && !w.upgrading && !c.closed.Load() &&
		(w.when == nil || w.when.stopped == nil && w.when.read.IsZero())
}

// wakeUp wakes the connection if it is parked, and forgets a wish that it may be.
func (c *Conn) wakeUp() {
	w := &c.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
	if w.parked == 0 {
		return
	}
	fd := int(w.parked) - 1
	w.parked = 0
	if wk := parkingLot.take(fd, c); wk != nil {
		wk.Wake()
	}
}

// setUpgrading keeps Rest from disturbing a handshake.
func (w *wire) setUpgrading(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.upgrading = on; on && w.resting {
		w.resting = false
		w.Conn.SetReadDeadline(time.Time{})
	}
}
