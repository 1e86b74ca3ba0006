//go:build unix

package transport

import (
	"io"
	"net"
	"os"
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

// writeOp is the state of the write in progress. A connection has one, because its writes are
// serialized.
type writeOp struct {
	p   []byte
	n   int
	err error
	f   func(fd uintptr) bool // attempt, bound once to avoid an allocation for each write
}

// writeRaw writes all of p, or, without wait, the part that the socket takes. w.sending is held, so
// that concurrent writes are not interleaved.
func (w *rawConn) writeRaw(p []byte, wait bool) (int, error) {
	o := &w.op
	if o.f == nil {
		o.f = w.attempt
	}
	o.p, o.n, o.err = p, 0, nil
	w.wait, w.waited = wait, false
	err := w.sys.Write(o.f)
	o.p = nil
	if err != nil || o.err != nil || w.waited {
		return o.n, w.finishWrite(err)
	}
	return o.n, nil
}

// finishWrite ends a write that failed or had to wait.
func (w *rawConn) finishWrite(err error) error {
	if err == nil {
		err = w.op.err
	}
	var armed time.Time
	if w.waited {
		armed = w.disarm()
	}
	if err == nil {
		return nil
	}
	return w.sendError(w.asWrite(err), armed)
}

// attempt writes as much as the socket takes. It returns false to be called again when the socket
// is writable or the deadline has passed.
func (w *rawConn) attempt(fd uintptr) bool {
	o := &w.op
	for {
		m, err := unix.Write(int(fd), o.p[o.n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if !w.wait {
				return true
			}
			if !w.waited {
				w.waited = true
				w.arm()
			}
			return false
		case err != nil:
			o.err = os.NewSyscallError("write", err)
			return true
		}
		w.progress.Add(uint64(m))
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
