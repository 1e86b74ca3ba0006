package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goranch/internal/idle"
)

// sendLimit is how long a write may wait, and what happens after.
type sendLimit struct {
	timeout time.Duration // 0: no limit
	keep    bool          // leave the connection open when it passes
	lingers bool          // closing waits for the peer
}

// rawConn is the lowest layer of a Conn: the connection as accepted, with the send timeout, and
// with deadlines that the user, the server and the monitor share. TLS runs above it, so both
// apply to TLS too.
//
// A write first offers its data to the socket. Only when the socket does not take all
// of it is the clock read and a timer armed, so the limit costs nothing while the
// peer keeps up.
type rawConn struct {
	net.Conn                 // as accepted
	sys      syscall.RawConn // nil: this package makes no system calls on the connection
	send     sendLimit
	handed   *handedOut // nil: only Conn uses the TLS connection above

	// Read side, used by the goroutine that reads.
	ahead  *ahead     // data that Peek has read; nil: none
	notNow bool       // reads return errNotNow instead of waiting
	reads  idle.Reads // deadline, stop and parking; used by any goroutine

	// Write side. sending is held during a write and guards op and kept.
	sending sync.Mutex
	trying  atomic.Bool // TLS writes and must not wait: what the socket does not take is kept
	kept    []byte
	op      writeOp

	mu   sync.Mutex      // guards when; not taken by writes that need not wait
	when *writeDeadlines // nil: none was ever set

	proxy atomic.Pointer[ProxyHeader]
}

// writeDeadlines are those of a connection that has had any. Most never have.
type writeDeadlines struct {
	user  time.Time
	armed time.Time // the send timeout of the write in progress; zero: no write waits
}

// deadlines returns the write deadlines, to be changed. w.mu is held.
func (w *rawConn) deadlines() *writeDeadlines {
	if w.when == nil {
		w.when = new(writeDeadlines)
	}
	return w.when
}

// NetConn returns the connection as accepted.
func (w *rawConn) NetConn() net.Conn { return w.Conn }

// Write, like everything down to the system call, is written so that it needs little stack: the
// stack of an idle connection stays as large as its last write has made it.
func (w *rawConn) Write(p []byte) (n int, err error) {
	if w.sys == nil {
		return w.writeForeign(p)
	}
	w.sending.Lock()
	if len(w.kept) == 0 && !w.trying.Load() {
		n, err = w.writeRaw(p, true)
	} else {
		n, err = w.writeBehind(p)
	}
	w.sending.Unlock()
	return n, err
}

// writeForeign writes to a connection on which this package makes no system calls.
func (w *rawConn) writeForeign(p []byte) (int, error) {
	if w.send.timeout == 0 {
		return w.Conn.Write(p)
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	w.arm()
	n, err := w.Conn.Write(p)
	return n, w.sendError(err, w.disarm())
}

// writeBehind writes p after what was kept, or keeps it too. w.sending is held.
func (w *rawConn) writeBehind(p []byte) (int, error) {
	if !w.trying.Load() {
		if err := w.flushKept(); err != nil {
			return 0, err
		}
		return w.writeRaw(p, true)
	}
	n := 0
	if len(w.kept) == 0 {
		var err error
		if n, err = w.writeRaw(p, false); err != nil {
			return n, err
		}
	}
	w.kept = append(w.kept, p[n:]...)
	return len(p), nil
}

// arm starts the send timeout of a write that has to wait. w.sending is held.
func (w *rawConn) arm() {
	if w.send.timeout == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	d.armed = time.Now().Add(w.send.timeout)
	w.Conn.SetWriteDeadline(earlier(d.armed, d.user))
}

// disarm ends the send timeout, and returns when it would have passed.
func (w *rawConn) disarm() (armed time.Time) {
	if w.send.timeout == 0 {
		return armed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	armed, d.armed = d.armed, time.Time{}
	w.Conn.SetWriteDeadline(d.user)
	return armed
}

// sendError distinguishes the send timeout, which was armed until armed or not at all, from a
// deadline that the user has set, and from the deadline of a connection that is copied from.
func (w *rawConn) sendError(err error, armed time.Time) error {
	if err == nil || armed.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(armed) {
		return err
	}
	w.mu.Lock()
	user := w.deadlines().user
	w.mu.Unlock()
	if !user.IsZero() && user.Before(armed) {
		return err
	}
	if !w.send.keep {
		w.reads.Close() // first: a parked connection must be woken while its descriptor is its own
		w.Conn.Close()
	}
	return opError("write", w.Conn, ErrSendTimeout)
}

func (w *rawConn) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

func (w *rawConn) SetReadDeadline(t time.Time) error { return w.reads.SetDeadline(w.Conn, t) }

func (w *rawConn) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	d.user = t
	return w.Conn.SetWriteDeadline(earlier(d.armed, t))
}

// readError replaces the error of a read that was interrupted by the reason for it: the cause of
// StopReading, or idle.ErrPark.
func (w *rawConn) readError(err error) error {
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	switch cause := w.reads.Interruption(w.Conn); cause {
	case nil:
		return err
	case idle.ErrPark:
		return cause
	default:
		return opError("read", w.Conn, cause)
	}
}

// earlier returns the earlier of two deadlines, where zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
