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
	timeout time.Duration // 0: no limit
	keep    bool          // leave the connection open after a timeout
	lingers bool          // close(2) waits for the peer
}

// rawConn is the lowest layer of a Conn: the accepted connection with the send timeout and with
// deadlines that users, supervisor and monitor share. TLS runs above it, so both apply to TLS too.
//
// A write first offers its data to the socket. The clock is read and a timer armed only if the
// socket does not take all of it, so the send timeout costs nothing while the peer keeps up.
type rawConn struct {
	// What each read and write uses comes first, so that it shares cache lines.
	net.Conn                       // returned by Accept
	sys      syscall.RawConn       // nil: this package makes no system calls on the connection
	flows    atomic.Pointer[flows] // nil: bytes per second were never limited
	sending  sync.Mutex            // held during a write; guards kept

	hasWriteDeadline atomic.Bool // set by SetWriteDeadline

	trying atomic.Bool // TryWrite writes a record: the bytes that the socket does not take are kept
	notNow bool        // Read returns errNotNow instead of waiting; used by the goroutine that reads

	wire *tlsWire // nil: bytes between TLS and the socket are not counted
	send sendLimit

	// Read side, used by the goroutine that reads.
	ahead *ahead     // data that Peek has read; nil: none
	reads idle.Reads // deadline, stop and parking; safe for use by any goroutine

	// Write side.
	kept     []byte        // the rest of a record
	progress atomic.Uint64 // grows while the socket takes bytes of a write that waits

	mu   sync.Mutex      // guards when; not taken by writes that need not wait
	when *writeDeadlines // nil: none was ever set

	proxy atomic.Pointer[ProxyHeader]
}

// writeDeadlines exist only on connections on which a write deadline was set or a write had to
// wait.
type writeDeadlines struct {
	user  time.Time // set by SetWriteDeadline
	armed time.Time // the send timeout of the write in progress; zero: no write waits
}

// deadlines returns the write deadlines for modification. w.mu is held.
func (w *rawConn) deadlines() *writeDeadlines {
	if w.when == nil {
		w.when = new(writeDeadlines)
	}
	return w.when
}

// NetConn returns the connection that Accept returned.
func (w *rawConn) NetConn() net.Conn { return w.Conn }

// write and everything below it down to the system call need little stack: the stack of an idle
// connection keeps the size that its last write required.
func (w *rawConn) write(p []byte) (n int, err error) {
	if w.sys == nil {
		return w.writeForeign(p)
	}
	w.sending.Lock()
	if len(w.kept) == 0 && !w.trying.Load() {
		n, err = w.writeRaw(p, true)
	} else {
		n, err = w.writeAfterKept(p)
	}
	w.sending.Unlock()
	return n, err
}

// writeForeign writes to a connection on which this package makes no system calls.
func (w *rawConn) writeForeign(p []byte) (int, error) {
	if w.send.timeout == 0 {
		n, err := w.Conn.Write(p)
		return n, shortWrite(n, p, err)
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	w.arm()
	n, err := w.Conn.Write(p)
	return n, w.sendError(shortWrite(n, p, err), w.disarm())
}

// shortWrite returns an error for a write that has returned none although it has not taken all of p.
func shortWrite(n int, p []byte, err error) error {
	if n < len(p) && err == nil {
		return io.ErrShortWrite
	}
	return err
}

// writeAfterKept writes p after the kept bytes, or keeps p as well. w.sending is held.
func (w *rawConn) writeAfterKept(p []byte) (int, error) {
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

// flushKept writes the kept bytes. w.sending is held.
func (w *rawConn) flushKept() error {
	if len(w.kept) == 0 {
		return nil
	}
	n, err := w.writeRaw(w.kept, true)
	if w.kept = w.kept[n:]; len(w.kept) == 0 { // otherwise the rest must precede the next record
		w.kept = nil
	}
	return err
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

// disarm ends the send timeout, and returns the time for which it was armed.
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

// sendError distinguishes the send timeout from a deadline that the user has set and from the read
// deadline of a connection that is being copied. armed is the end of the send timeout; zero if it
// was not armed.
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
		w.wakeFlows()
	}
	return opError("write", w.Conn, ErrSendTimeout)
}

func (w *rawConn) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

func (w *rawConn) SetReadDeadline(t time.Time) error {
	defer w.wakeFlows()
	return w.reads.SetDeadline(w.Conn, t)
}

func (w *rawConn) SetWriteDeadline(t time.Time) error {
	defer w.wakeFlows()
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	d.user = t
	w.hasWriteDeadline.Store(!t.IsZero())
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
