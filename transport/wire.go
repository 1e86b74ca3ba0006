package transport

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sendLimit is how long a write may wait, and what happens after.
type sendLimit struct {
	timeout time.Duration // 0: no limit
	keep    bool          // leave the connection open when it passes
	lingers bool          // closing waits for the peer
}

// wire is the lowest floor of a Conn: the connection as accepted, behind the send
// timeout and the deadlines that several owners share. TLS runs above it, so both
// hold for it too.
//
// A write first offers its data to the socket. Only when the socket does not take all
// of it is the clock looked at and a timer armed, so the limit costs nothing while the
// peer keeps up.
type wire struct {
	net.Conn                 // as accepted
	raw      syscall.RawConn // nil: no system calls of our own on this connection
	send     sendLimit
	ahead    *ahead // read before its time, nil for nothing; touched by the goroutine that reads
	lent     *lent  // nil: nobody uses the TLS above but its Conn

	sending sync.Mutex  // held by a write: armed, op and kept are its own
	trying  atomic.Bool // TLS is writing, and must not wait: what does not go out is kept
	notNow  bool        // reads answer errNotNow; touched by the goroutine that reads

	resting   bool  // Next is to return ErrResting; this and what follows is guarded by mu
	upgrading bool  // a handshake reads
	parked    int32 // the descriptor and 1; 0: not parked

	kept []byte
	op   writeOp

	mu   sync.Mutex // guards what when points to; not taken by plain reads and writes
	when *deadlines // nil: none was ever set

	proxy atomic.Pointer[ProxyHeader]
}

// deadlines are those of a connection that has had any. Most never do.
type deadlines struct {
	read    time.Time // the user's
	write   time.Time
	armed   time.Time // a write in progress must end by then; zero: none waits
	stopped error     // reads have been stopped for this cause
}

// deadlines returns what may be changed. w.mu is held.
func (w *wire) deadlines() *deadlines {
	if w.when == nil {
		w.when = new(deadlines)
	}
	return w.when
}

// NetConn returns the connection as accepted.
func (w *wire) NetConn() net.Conn { return w.Conn }

// Write is, like all on the way to the socket, written so that it needs little stack: that of
// an idle connection stays as large as its last write has made it.
func (w *wire) Write(p []byte) (n int, err error) {
	if w.raw == nil {
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

// writeForeign writes on connections on which we make no system calls of our own.
func (w *wire) writeForeign(p []byte) (int, error) {
	if w.send.timeout == 0 {
		return w.Conn.Write(p)
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	w.arm()
	n, err := w.Conn.Write(p)
	return n, w.sendError(err, w.disarm())
}

// writeBehind writes behind what was kept, or keeps it too. Its caller holds sending.
func (w *wire) writeBehind(p []byte) (int, error) {
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

// arm starts the send timeout of a write that has to wait. Its caller holds sending.
func (w *wire) arm() {
	if w.send.timeout == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	d.armed = time.Now().Add(w.send.timeout)
	w.Conn.SetWriteDeadline(earlier(d.armed, d.write))
}

// disarm ends it, and returns when it would have passed.
func (w *wire) disarm() (armed time.Time) {
	if w.send.timeout == 0 {
		return armed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	armed, d.armed = d.armed, time.Time{}
	w.Conn.SetWriteDeadline(d.write)
	return armed
}

// sendError tells the send timeout, which was armed for a time or not at all, from a
// deadline that the user has set, and from one of a connection that is copied from.
func (w *wire) sendError(err error, armed time.Time) error {
	if err == nil || armed.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(armed) {
		return err
	}
	w.mu.Lock()
	write := w.deadlines().write
	users := !write.IsZero() && write.Before(armed)
	w.mu.Unlock()
	if users {
		return err
	}
	if !w.send.keep {
		w.Conn.Close()
	}
	return opError("write", w.Conn, ErrSendTimeout)
}

func (w *wire) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
	d := w.deadlines()
	d.read = t
	if d.stopped != nil {
		return nil // it stays in the past
	}
	return w.Conn.SetReadDeadline(t)
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.deadlines()
	d.write = t
	return w.Conn.SetWriteDeadline(earlier(d.armed, t))
}

// stopReading makes the blocked and all later reads fail at once; writes go on.
func (w *wire) stopReading(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.deadlines(); d.stopped == nil {
		w.resting = false
		d.stopped = cause
		w.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (w *wire) readingStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.when != nil && w.when.stopped != nil
}

// readError replaces the deadline's error by the cause for which reads were stopped, or by
// ErrResting.
func (w *wire) readError(err error) error {
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.when != nil && w.when.stopped != nil:
		return opError("read", w.Conn, w.when.stopped)
	case w.resting:
		w.resting = false
		w.Conn.SetReadDeadline(time.Time{})
		return ErrResting
	}
	return err
}

// earlier returns the earlier of two deadlines, where zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
