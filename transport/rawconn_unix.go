//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sysConn returns access to the socket of nc; nil if nc is not a socket of package net.
func sysConn(nc net.Conn) syscall.RawConn {
	switch c := nc.(type) {
	case *net.TCPConn:
		rc, _ := c.SyscallConn()
		return rc
	case *net.UnixConn:
		rc, _ := c.SyscallConn()
		return rc
	}
	return nil
}

// writeOp is a write in progress. It comes from a pool: its functions are bound once, to avoid an
// allocation for each write, and a connection that does not write holds none.
type writeOp struct {
	p   []byte
	n   int // bytes of p that the socket has taken
	err error

	// Used by more only.
	w      *rawConn
	wait   bool // wait until the socket takes all
	waited bool // the socket did not take all at once

	once func(fd uintptr)      // sendOnce
	more func(fd uintptr) bool // sendMore
}

var writeOps = sync.Pool{New: func() any {
	o := new(writeOp)
	o.once, o.more = o.sendOnce, o.sendMore
	return o
}}

func (o *writeOp) release() {
	o.p, o.n, o.err, o.w = nil, 0, nil, nil
	writeOps.Put(o)
}

// writeRaw writes all of p, or, without wait, the part that the socket takes. w.sending is held, so
// that concurrent writes are not interleaved.
//
// It first offers p to the socket under RawConn.Control. Like RawConn.Write, Control holds a
// reference to the descriptor, so that a concurrent Close cannot free it for another connection.
// Unlike RawConn.Write, it does not prepare the runtime's poller for a wait, which costs time, and
// does not check the write deadline: while there is one, this attempt is omitted.
func (w *rawConn) writeRaw(p []byte, wait bool) (n int, err error) {
	o := writeOps.Get().(*writeOp)
	o.p = p
	if !w.hasWriteDeadline() {
		err = w.sys.Control(o.once)
		if n = o.n; err == nil && o.err == nil && (n == len(p) || !wait) {
			o.release()
			return n, nil
		}
	}
	return w.completeWrite(o, wait, err)
}

// completeWrite ends a write that has failed, must wait, or is under a deadline.
//
//go:noinline
func (w *rawConn) completeWrite(o *writeOp, wait bool, err error) (n int, _ error) {
	o.w, o.wait, o.waited = w, wait, false
	if err == nil && o.err == nil {
		w.progress.Add(uint64(o.n))
		err = w.sys.Write(o.more)
	}
	if err == nil {
		err = o.err
	}
	var armed time.Time
	if o.waited {
		armed = w.disarm()
	}
	n = o.n
	o.release()
	if err != nil {
		err = w.sendError(w.asWrite(err), armed)
	}
	return n, err
}

// sendOnce offers p to the socket once.
func (o *writeOp) sendOnce(fd uintptr) {
	n, err := send(int(fd), o.p)
	switch err {
	case 0:
		o.n = n
	case unix.EAGAIN:
	default:
		o.err = os.NewSyscallError("write", err)
	}
}

// sendMore writes as much of the rest as the socket takes. It returns false to be called again when
// the socket is writable or the deadline has passed.
func (o *writeOp) sendMore(fd uintptr) bool {
	for {
		m, err := send(int(fd), o.p[o.n:])
		switch {
		case err == unix.EAGAIN:
			if !o.wait {
				return true
			}
			if !o.waited {
				o.waited = true
				o.w.arm()
			}
			return false
		case err != 0:
			o.err = os.NewSyscallError("write", err)
			return true
		}
		o.w.progress.Add(uint64(m))
		if o.n += m; o.n >= len(o.p) {
			return true
		}
		if m == 0 {
			o.err = io.ErrUnexpectedEOF
			return true
		}
	}
}

// asWrite wraps an error of this package's system calls, or of RawConn, as net.Conn.Write does.
func (w *rawConn) asWrite(err error) error { return asOp("write", w.Conn, err) }

func asOp(op string, nc net.Conn, err error) error {
	if oe, ok := err.(*net.OpError); ok {
		err = oe.Err
	}
	return opError(op, nc, err)
}
