package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goranch/internal/idle"
)

// sendLimit is the send timeout of a transport and its consequences.
type sendLimit struct {
	timeout  time.Duration // 0: no limit
	keepOpen bool          // leave the connection open after a timeout
	lingers  bool          // close(2) waits for the peer
}

// rawConn is the lowest layer of a Conn: the accepted connection with the send timeout and with
// deadlines that users, supervisor and monitor share. TLS runs above it, so both apply to TLS too.
//
// A write first offers its data to the socket. The clock is read and a timer armed only if the
// socket does not take all of it, so the send timeout costs nothing while the peer keeps up.
type rawConn struct {
	// Used by each read and write. These fields come first, so that they share cache lines.
	net.Conn                        // returned by Accept
	sys      syscall.RawConn        // nil: this package makes no system calls on the connection
	extras   atomic.Pointer[extras] // nil: the connection has none
	layer    atomic.Pointer[layer]  // nil: there is none
	sending  sync.Mutex             // held during a write; guards layer.unflushed

	// Read side, used by the goroutine that reads.
	ahead *ahead     // data that Peek has read; nil: none
	reads idle.Reads // deadline, stop and parking; for any goroutine

	// Write side, for any goroutine.
	writeLimits atomic.Pointer[writeDeadlines] // nil: none was ever set
	progress    atomic.Uint64                  // grows while the socket takes bytes of a write that waits
	sendTimeout time.Duration                  // of t; 0: no limit

	t Transport // set once
}

// writeDeadlines exist only on connections on which a write deadline was set or a write had to
// wait.
type writeDeadlines struct {
	set atomic.Bool // user is not zero

	mu    sync.Mutex // not taken by writes that need not wait
	user  time.Time  // set by SetWriteDeadline
	armed time.Time  // the send timeout of the write in progress; zero: no write waits
}

// needWriteLimits returns the write deadlines, for modification.
func (w *rawConn) needWriteLimits() *writeDeadlines {
	if w.writeLimits.Load() == nil {
		w.writeLimits.CompareAndSwap(nil, new(writeDeadlines))
	}
	return w.writeLimits.Load()
}

// hasWriteDeadline reports whether SetWriteDeadline has set one.
func (w *rawConn) hasWriteDeadline() bool {
	d := w.writeLimits.Load()
	return d != nil && d.set.Load()
}

// NetConn returns the connection that Accept returned.
func (w *rawConn) NetConn() net.Conn { return w.Conn }

// write and the functions that it calls, down to the system call, use little stack: the stack of an
// idle connection keeps the size that its last write required.
func (w *rawConn) write(p []byte) (n int, err error) {
	if w.sys == nil {
		return w.writeForeign(p)
	}
	w.sending.Lock()
	if l := w.layer.Load(); l == nil || len(l.unflushed) == 0 && !l.trying.Load() {
		n, err = w.writeRaw(p, true)
	} else {
		n, err = w.writeAfterRecord(l, p)
	}
	w.sending.Unlock()
	return n, err
}

// writeForeign writes to a connection on which this package makes no system calls.
func (w *rawConn) writeForeign(p []byte) (int, error) {
	if w.sendTimeout == 0 {
		n, err := w.Conn.Write(p)
		return n, shortWrite(n, p, err)
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	w.arm()
	n, err := w.Conn.Write(p)
	return n, w.sendError(shortWrite(n, p, err), w.disarm())
}

// shortWrite returns an error for a write that has returned none although it has not taken all of
// p.
func shortWrite(n int, p []byte, err error) error {
	if n < len(p) && err == nil {
		return io.ErrShortWrite
	}
	return err
}

// writeAfterRecord writes p after the unflushed bytes, or adds p to them. w.sending is held.
func (w *rawConn) writeAfterRecord(l *layer, p []byte) (int, error) {
	if !l.trying.Load() {
		if err := w.flushRecord(l); err != nil {
			return 0, err
		}
		return w.writeRaw(p, true)
	}
	n := 0
	if len(l.unflushed) == 0 {
		var err error
		if n, err = w.writeRaw(p, false); err != nil {
			return n, err
		}
	}
	l.unflushed = append(l.unflushed, p[n:]...)
	return len(p), nil
}

// flushRecord writes the unflushed bytes. w.sending is held.
func (w *rawConn) flushRecord(l *layer) error {
	if len(l.unflushed) == 0 {
		return nil
	}
	n, err := w.writeRaw(l.unflushed, true)
	if l.unflushed = l.unflushed[n:]; len(l.unflushed) == 0 { // otherwise the rest must precede the next record
		l.unflushed = nil
	}
	return err
}

// arm starts the send timeout of a write that has to wait. w.sending is held.
func (w *rawConn) arm() {
	if w.sendTimeout == 0 {
		return
	}
	d := w.needWriteLimits()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = time.Now().Add(w.sendTimeout)
	w.Conn.SetWriteDeadline(earlier(d.armed, d.user))
}

// disarm ends the send timeout, and returns the time for which it was armed.
func (w *rawConn) disarm() (armed time.Time) {
	if w.sendTimeout == 0 {
		return armed
	}
	d := w.needWriteLimits()
	d.mu.Lock()
	defer d.mu.Unlock()
	armed, d.armed = d.armed, time.Time{}
	w.Conn.SetWriteDeadline(d.user)
	return armed
}

// sendError distinguishes the send timeout from a deadline that the user has set and from the read
// deadline of a connection that is being copied. armed is the end of the send timeout; zero if it
// was not armed.
func (w *rawConn) sendError(err error, armed time.Time) error {
	if err == nil || armed.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(armed) {
		return err
	}
	d := w.needWriteLimits()
	d.mu.Lock()
	user := d.user
	d.mu.Unlock()
	if !user.IsZero() && user.Before(armed) {
		return err
	}
	if !sendLimitOf(w.t).keepOpen {
		w.reads.Close() // first: a parked connection must be woken before its descriptor can be reused
		w.Conn.Close()
		w.wakeFlows()
	}
	return opError("write", w.Conn, ErrSendTimeout)
}

func (w *rawConn) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

func (w *rawConn) SetReadDeadline(t time.Time) error {
	err := w.reads.SetDeadline(w.Conn, t)
	w.wakeFlows()
	return err
}

func (w *rawConn) SetWriteDeadline(t time.Time) error {
	if d := w.writeLimits.Load(); t.IsZero() && d != nil && !d.set.Load() && !w.reads.Closed() {
		return nil // it was removed before
	}
	defer w.wakeFlows()
	d := w.needWriteLimits()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = t
	d.set.Store(!t.IsZero())
	return w.Conn.SetWriteDeadline(earlier(d.armed, t))
}

// readError replaces the error of an interrupted read by the reason of the interruption: the cause
// given to StopReading, or idle.ErrPark.
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

// earlier returns the earlier of two deadlines; the zero time means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
