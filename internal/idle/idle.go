// Package idle parks connections that have nothing to read. A parked connection has no goroutine,
// no buffer and no timer: only its socket remains, registered with an epoll instance. A connection
// in memory is parked without a socket. On systems other than Linux no connection is parked.
//
// # The protocol
//
// The reader is the goroutine that serves the connection and usually blocks in a read. The monitor
// is the loop that knows how long each connection has been idle. The lead (as in the
// leader/followers pattern) is the goroutine that waits for events of an epoll instance, of which
// there are GOMAXPROCS. The state of one connection is guarded by the mutex of its [Reads].
//
//  1. The monitor calls RequestPark. If the connection can be parked, this sets the read deadline to
//     a time in the past, which interrupts the blocked read.
//  2. The read fails with os.ErrDeadlineExceeded. Interruption finds the request, removes it and the
//     deadline, and returns [ErrPark], which replaces the error. A read that received data at the
//     same moment succeeds instead. Then the request interrupts the next read, and a connection that
//     was just used is parked; that is correct, and costs some microseconds.
//  3. The reader returns its buffer to the pool, returns from the protocol with ErrPark, and calls
//     Park as its last action. Park registers the socket with epoll (EPOLLONESHOT) and stores the
//     [Waker]. The reader then ends, which frees its stack. If the connection was closed, stopped or
//     given a deadline in the meantime, Park returns false and the reader continues.
//  4. Each parked connection is woken exactly once: by the lead when the socket is readable or
//     closed by the peer, or by Close and all calls that make reads fail. The first of them that
//     removes the entry from the table calls the Waker, which starts a goroutine that continues to
//     read.
//
// With an [InlinePolicy], no request is needed: after some reads, or at once while many goroutines
// wait, the reader parks the connection when there is no data. In step 3 the socket is registered once (EPOLLET), and stays registered.
// In step 4 the lead calls Waker.Ready, which reads without waiting and calls Park again, or Wake
// if something has to be waited for. An event of a connection that is being read makes Park return
// false, so that no event is lost; after two of them the socket is no longer registered. A lead
// that does not return from Ready is replaced.
//
// Data that arrives between steps 2 and 3 is not lost: epoll also reports a socket that is readable
// when it is registered. A descriptor is not reused while it is in the table, because Close removes
// the entry before the socket is closed. If other code closes the socket, the connection is woken
// when its descriptor is parked again, at the latest.
//
// A request is a deadline because the runtime offers no other way to interrupt a read of another
// goroutine. To keep it apart from the deadlines of users, all read deadlines are set through
// Reads: a deadline of the user, or a stop, withdraws a request.
//
// Over TLS, the interrupted read is inside crypto/tls, which keeps the connection usable because
// the error is temporary. TestCryptoTLSSurvivesTemporaryReadErrors and
// TestCryptoTLSSurvivesRequestPark of package transport guard that.
//
// The lead itself waits in the runtime's poller, because an epoll descriptor is readable when it
// has events. It blocks no thread, and ends some milliseconds after the last connection was woken.
// Lock order: Reads.mu before table.mu.
package idle

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// ErrPark is the error of a read that RequestPark has interrupted. The read has consumed no data,
// and the connection remains usable.
var ErrPark = errors.New("the connection is idle and can be parked")

// ErrNeedsGoroutine is the result of [Session.Ready] if the session has to wait for something,
// which the goroutine of the lead must not do.
var ErrNeedsGoroutine = errors.New("the connection needs a goroutine")

// Waker resumes a parked connection. For each successful Park, one of its methods is called once.
type Waker interface {
	// Wake starts a goroutine that reads the connection. It must not block, and must not use the
	// connection itself.
	Wake()
	// Ready reads the connection, which is readable, in the goroutine of the lead. Its last action
	// is to park, wake or close the connection.
	Ready(l *Lead)
}

// Session is a connection that is served by successive calls of its methods, between which it may
// be parked.
type Session interface {
	// Run serves the connection. It returns [ErrPark] if the connection is idle, or, if mayPark is
	// set, when there is no data, usually after some reads; a method is then called again, in
	// another goroutine, when there is data to read or reads are to fail. Any other result ends the
	// session.
	Run(mayPark bool) error
	// Ready handles what the connection has received. It does not wait for more: it returns
	// [ErrPark] when there is no more data, and [ErrNeedsGoroutine] if Run is to be called. Any
	// other result ends the session.
	Ready(l *Lead) error
	// Inline returns the policy that all sessions of the protocol share.
	Inline() *InlinePolicy
}

// Reads is the read side of one connection: its read deadline, the cause for which reads were
// stopped, and its parking. The zero value is ready to use. Its methods may be called from any
// goroutine.
type Reads struct {
	mu        sync.Mutex
	requested bool      // parking was requested: the next interrupted read returns ErrPark
	suspended bool      // a handshake is in progress, which must not be interrupted
	closed    bool      // the connection must no longer be parked
	state     readState // of a connection that stays registered
	fd        int32     // the descriptor of the parked connection plus 1, or inMemory; 0: not parked
	limits    *limits   // nil: no deadline was ever set, and reads were not stopped
}

// readState reports whether a connection that stays registered is being read.
type readState uint8

const (
	notReading   readState = iota // it is parked, or not registered
	reading                       // by the lead, or by a goroutine of the connection
	readingAgain                  // likewise, and another event has arrived since
	unsupported                   // it could not be registered, and is no longer parked
)

// inMemory is the Reads.fd of a parked connection that has no descriptor. What makes its reads fail
// also calls the function that ParkInMemory has registered.
const inMemory = -1

// limits are allocated on first use: most connections have none.
type limits struct {
	deadline time.Time // set by the user
	stopped  error     // the cause given to Stop
}

// past is a deadline that interrupts a read at once.
var past = time.Unix(1, 0)

func (r *Reads) ensureLimits() *limits {
	if r.limits == nil {
		r.limits = new(limits)
	}
	return r.limits
}

// SetDeadline sets the deadline for reads of nc; the zero time removes it. After Stop it has no
// effect. It wakes a parked connection.
func (r *Reads) SetDeadline(nc net.Conn, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The first removal is not skipped: code that has made nc may have set a deadline.
	if t.IsZero() && r.unlimited() {
		return nil // net/http removes the deadline before each request
	}
	l := r.ensureLimits()
	l.deadline = t
	r.wake(false)
	if l.stopped != nil {
		return nil // the deadline stays in the past
	}
	return nc.SetReadDeadline(t)
}

// unlimited reports whether the deadline of nc was removed and no other was set since. r.mu is
// held.
func (r *Reads) unlimited() bool {
	return r.limits != nil && r.limits.deadline.IsZero() && r.limits.stopped == nil && !r.requested && !r.closed
}

// Limit reports whether reads are to fail, because they were stopped or the connection is closed.
// until is the deadline of the user, the zero time if there is none.
func (r *Reads) Limit() (until time.Time, stopped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits != nil {
		until, stopped = r.limits.deadline, r.limits.stopped != nil
	}
	return until, stopped || r.closed
}

// Closed reports whether Close was called.
func (r *Reads) Closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Stop makes the blocked and all later reads of nc fail with os.ErrDeadlineExceeded, for which
// Interruption returns cause. Only the first cause counts. It wakes a parked connection.
func (r *Reads) Stop(nc net.Conn, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.ensureLimits(); l.stopped == nil {
		l.stopped = cause
		nc.SetReadDeadline(past)
	}
	r.wake(false)
}

// Stopped returns the cause given to Stop; nil if reads were not stopped.
func (r *Reads) Stopped() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limits == nil {
		return nil
	}
	return r.limits.stopped
}

// Interruption returns the reason for which a read of nc has failed with os.ErrDeadlineExceeded:
// the cause given to Stop; [ErrPark] after RequestPark; or nil for a deadline of the user.
func (r *Reads) Interruption(nc net.Conn) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.limits != nil && r.limits.stopped != nil:
		return r.limits.stopped
	case r.requested:
		r.requested = false
		nc.SetReadDeadline(time.Time{})
		r.unregister() // its event may have been reported already: Park registers the socket again
		return ErrPark
	}
	return nil
}

// Suspend forbids parking during a handshake (on), and allows it again.
func (r *Reads) Suspend(nc net.Conn, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.suspended = on; !on {
		return
	}
	if r.requested {
		r.requested = false
		nc.SetReadDeadline(time.Time{})
	}
	if r.fd > 0 {
		r.wake(false)
	}
}

// Close forbids parking permanently and wakes a parked connection. It must be called before the
// socket is closed.
func (r *Reads) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake(true)
}

// RequestPark interrupts the blocked or the next read of nc, which then returns [ErrPark]. It
// returns false, without effect, if parking was requested before, or if the connection is parked,
// closed, stopped, has a read deadline, or is in a handshake.
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

// CanPark reports whether Park would park the connection now.
func (r *Reads) CanPark() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return canPark && r.parkable()
}

// Park parks the connection with the socket raw until it calls w. The reader calls it after
// ErrPark, and must not use the connection afterwards. If Park returns false, the connection is not
// parked, and the reader continues.
//
// If inline is not nil, the socket stays registered afterwards, and w.Ready is called for its
// events while inline allows it.
func (r *Reads) Park(raw syscall.RawConn, w Waker, inline *InlinePolicy) bool {
	if !canPark {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.parkable() {
		return false
	}
	if r.fd != 0 {
		old := r.state == readingAgain
		r.state = notReading
		if old {
			r.state = reading
		}
		return !old
	}
	parked := false
	raw.Control(func(fd uintptr) {
		if parked = tableOf(int(fd)).add(int(fd), entry{r, w, inline}); parked {
			r.fd, r.state = int32(fd)+1, notReading
		}
	})
	if !parked {
		r.state = unsupported
	}
	return parked
}

// ParkInMemory is Park for a connection without a socket. notify calls its argument once when reads
// would not block any more, or returns false if that is so already.
func (r *Reads) ParkInMemory(notify func(func()) bool, w Waker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.parkable() || !notify(func() { r.wokenInMemory(w) }) {
		return false
	}
	r.fd = inMemory
	return true
}

func (r *Reads) wokenInMemory(w Waker) {
	r.mu.Lock()
	r.fd = 0
	r.mu.Unlock()
	w.Wake()
}

// parkable reports whether the connection may be parked. r.mu is held.
func (r *Reads) parkable() bool {
	return (r.fd == 0 || r.state != notReading) && r.state != unsupported && !r.suspended && !r.closed &&
		(r.limits == nil || r.limits.stopped == nil && r.limits.deadline.IsZero())
}

// wake withdraws a request, and wakes a parked connection. If the connection stays registered and
// is being read, its reader continues after Park, which returns false. closing is set before the
// socket is closed, which removes it from epoll. r.mu is held.
func (r *Reads) wake(closing bool) {
	r.requested = false
	if r.fd == 0 || r.fd == inMemory {
		return
	}
	fd, state := int(r.fd)-1, r.state
	r.fd, r.state = 0, notReading
	if w := tableOf(fd).remove(fd, r, closing); w != nil && state == notReading {
		w.Wake()
	}
}

// readable is called for an event of the socket fd of a connection that stays registered. It
// reports whether the caller is to read the connection. After a second event during one read the
// socket is unregistered: each event of a connection that has a goroutine costs time in vain.
func (r *Reads) readable(fd int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd != int32(fd)+1 { // it was woken in the meantime
		return false
	}
	switch r.state {
	case notReading:
		r.state = reading
		return true
	case reading:
		r.state = readingAgain
	case readingAgain:
		r.unregister()
	}
	return false
}

// unregister removes a socket that has stayed registered. r.mu is held.
func (r *Reads) unregister() {
	if fd := int(r.fd) - 1; fd >= 0 {
		r.fd, r.state = 0, notReading
		tableOf(fd).remove(fd, r, false)
	}
}
