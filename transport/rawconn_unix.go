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

// sysConn returns the means to call read and write on nc ourselves; nil for what is no
// socket of the system's.
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

// writeOp is the write that is in progress on a connection. Writes are one at a time, so
// each connection has one.
type writeOp struct {
	p      []byte
	n      int
	err    error
	f      func(fd uintptr) bool // attempt, bound at the first write
	wait   bool                  // for the peer, if it does not keep up
	waited bool                  // the socket did not take everything at once
}

// writeRaw writes all of p, or, if it is not to wait, what the socket takes. Its caller holds
// sending, so that concurrent writes do not mix.
func (w *rawConn) writeRaw(p []byte, wait bool) (int, error) {
	o := &w.op
	if o.f == nil {
		o.f = w.attempt
	}
	o.p, o.n, o.err, o.wait, o.waited = p, 0, nil, wait, false
	err := w.sys.Write(o.f)
	o.p = nil
	if err != nil || o.err != nil || o.waited {
		return o.n, w.wrote(err)
	}
	return o.n, nil
}

// wrote is the end of a write that failed or had to wait.
func (w *rawConn) wrote(err error) error {
	if err == nil {
		err = w.op.err
	}
	var armed time.Time
	if w.op.waited {
		armed = w.disarm()
	}
	if err == nil {
		return nil
	}
	return w.sendError(w.asWrite(err), armed)
}

// attempt writes what the socket takes. It returns false to be called again when the
// socket takes more, or when the deadline has passed.
func (w *rawConn) attempt(fd uintptr) bool {
	o := &w.op
	for {
		m, err := unix.Write(int(fd), o.p[o.n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if !o.wait {
				return true
			}
			if !o.waited {
				o.waited = true
				w.arm()
			}
			return false
		case err != nil:
			o.err = os.NewSyscallError("write", err)
			return true
		}
		if o.n += m; o.n >= len(o.p) {
			return true
		}
		if m == 0 {
			o.err = io.ErrUnexpectedEOF
			return true
		}
	}
}

// asWrite gives an error of our own system call, or of RawConn, the form that net's Write has.
func (w *rawConn) asWrite(err error) error { return asOp("write", w.Conn, err) }

func asOp(op string, nc net.Conn, err error) error {
	if oe, ok := err.(*net.OpError); ok {
		err = oe.Err
	}
	return opError(op, nc, err)
}
