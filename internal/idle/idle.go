// Package idle parks idle connections: a parked connection has no goroutine, no buffer and no
// timer. What remains of it is its socket, registered with an epoll instance. It works on Linux
// and on sockets; elsewhere nothing is ever parked.
//
// # The protocol
//
// Three parties take part. The reader is the goroutine that serves the connection and usually
// blocks in a read. The monitor is the loop that knows how long each connection has been idle.
// The poller is the one goroutine that waits for the epoll instance of all parked connections.
// Everything about one connection is decided under the mutex of its [Reads].
//
//  1. The monitor calls RequestPark. If the connection can be parked, this sets the read deadline
//     to a time in the past, which interrupts the blocked read.
//  2. The read fails with os.ErrDeadlineExceeded. Reads.Interruption finds the request, removes it and the
//     deadline, and the error becomes [ErrPark]. A read that received data at the same moment
//     succeeds instead; then the request stays and interrupts the next read, which is harmless:
//     parking a connection that has just been used costs some microseconds.
//  3. The reader gives back its buffer, returns from the protocol with ErrPark as the error, and
//     calls Park as its last act. Park registers the socket with epoll (EPOLLONESHOT) and stores
//     the [Waker]. From then on the connection belongs to whatever Wake starts; the reader
//     returns, and its stack is freed. Park reports false if the connection was closed, stopped or
//     given a deadline in the meantime; then the reader goes on itself.
//  4. The connection is woken exactly once for each Park: by the poller, when the socket is
//     readable or closed by the peer, or by Wake, which Close and everything that makes reads
//     fail calls. Whichever takes the entry out of the table first calls the Waker, which starts
//     a new goroutine that reads on.
//
// Data that arrives between 2 and 3 is not lost: epoll reports a socket that is readable already
// when it is registered. A descriptor is not reused while it is in the table, because Close
// wakes the connection, which takes it out, before the socket is closed. If a user closes the
// socket itself, its connection is woken when its descriptor is parked again, at the latest.
//
// The request is a deadline because that is the only way in which the runtime lets one goroutine
// interrupt another one's read. It must not be confused with the deadlines of users, so
// all deadlines for reading go through Reads: a user's deadline, or a stop, withdraws a request.
//
// Over TLS the interrupted read is one inside crypto/tls, which keeps the connection usable
// because the error is temporary. TestCryptoTLSSurvivesTemporaryReadErrors of package transport
// guards that.
//
// The poller waits in the runtime's own poller, since an epoll descriptor is readable when it has
// events: it blocks no thread, and ends when nothing is parked. Lock order: Reads.mu, then
// table.mu.
package idle

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// ErrPark is the error of a read that was interrupted because RequestPark was called. Nothing was
// read, and the connection is as it was.
var ErrPark = errors.New("the connection is idle and can be parked")

// Waker starts a connection again.
type Waker interface {
	// Wake is called once for each time the connection was parked. It starts a goroutine that
	// reads; it must not block, nor use the connection.
	Wake()
}

// Session is a connection that is served in runs, between which it may be parked.
type Session interface {
	// Run serves the connection. When it returns [ErrPark], the connection is idle, and Run is
	// called again, in another goroutine, when there is something to read or reads are to fail.
	// Any other result is the end.
	Run() error
}

// Reads is the read side of one connection: the deadline of its reads, the cause for which they
// were stopped, and its parking. Its zero value is ready to use. Its methods may be called from
// any goroutine.
type Reads struct {
	mu        sync.Mutex
	requested bool    // the next read that is interrupted returns ErrPark
	suspended bool    // a handshake reads; it must not be interrupted
	closed    bool    // nothing is parked any more
	fd        int32   // of the parked connection, plus 1; 0: not parked
	limits    *limits // nil: no deadline was ever set, and reads were not stopped
}

// limits are those of a connection that has had any. Most never have.
type limits struct {
	deadline time.Time // the user's
	stopped  error     // the cause for which reads were stopped
}

// past is a deadline that interrupts a read.
var past = time.Unix(1, 0)

func (r *Reads) change() *limits {
	if r.limits == nil {
		r.limits = new(limits)
	}
	return r.limits
}

// SetDeadline makes reads of nc fail from t on; the zero time removes the deadline. It cannot undo
// Stop. It wakes a parked connection.
func (r *Reads) SetDeadline(nc net.Conn, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.change()
	l.deadline = t
	r.wake()
	if l.stopped != nil {
		return nil // the deadline stays in the past
	}
	return nc.SetReadDeadline(t)
}

// Stop makes the blocked and all later reads of nc fail with cause. Only the first cause counts.
// It wakes a parked connection.
func (r *Reads) Stop(nc net.Conn, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.change(); l.stopped == nil {
		l.stopped = cause
		nc.SetReadDeadline(past)
	}
	r.wake()
}

// Stopped returns the cause that was given to Stop; nil if reads were not stopped.
func (r *Reads) Stopped() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits == nil {
		return nil
	}
	return r.limits.stopped
}

// Interruption returns why a read of nc failed with os.ErrDeadlineExceeded: the cause given to
// Stop, [ErrPark] after RequestPark, or nil if it was the user's deadline.
func (r *Reads) Interruption(nc net.Conn) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.limits != nil && r.limits.stopped != nil:
		return r.limits.stopped
	case r.requested:
		r.requested = false
		nc.SetReadDeadline(time.Time{})
		return ErrPark
	}
	return nil
}

// Suspend forbids parking while a handshake reads, or allows it again.
func (r *Reads) Suspend(nc net.Conn, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.suspended = on; on && r.requested {
		r.requested = false
		nc.SetReadDeadline(time.Time{})
	}
}

// Close forbids parking for good and wakes a parked connection. It is called before the socket
// is closed.
func (r *Reads) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake()
}

// RequestPark interrupts the read of nc that is blocked, or the next one, so that it returns
// [ErrPark]. It reports whether it did: not if the connection is parked, closed, stopped, has a
// read deadline, or is in a handshake.
func (r *Reads) RequestPark(nc net.Conn) bool {
	if !canPark {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requested || !r.parkable() {
		return false
	}
	r.requested = true
	nc.SetReadDeadline(past)
	return true
}

// Park parks the connection with the socket raw until w is to be called. The reader calls it
// after ErrPark, and must not touch the connection afterwards. If Park returns false, the
// connection is not parked, and the reader goes on.
func (r *Reads) Park(raw syscall.RawConn, w Waker) bool {
	if !canPark {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.parkable() {
		return false
	}
	parked := false
	raw.Control(func(fd uintptr) {
		if parked = parkedConns.add(int(fd), r, w); parked {
			r.fd = int32(fd) + 1
		}
	})
	return parked
}

// parkable reports whether nothing forbids parking. r.mu is held.
func (r *Reads) parkable() bool {
	return r.fd == 0 && !r.suspended && !r.closed &&
		(r.limits == nil || r.limits.stopped == nil && r.limits.deadline.IsZero())
}

// wake withdraws a request, and wakes the connection if it is parked. r.mu is held.
func (r *Reads) wake() {
	r.requested = false
	if r.fd == 0 {
		return
	}
	fd := int(r.fd) - 1
	r.fd = 0
	if w := parkedConns.remove(fd, r); w != nil {
		w.Wake()
	}
}
