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

// rawConn returns the means to call read and write on nc ourselves; nil for what is no
// socket of the system's.
func rawConn(nc net.Conn) syscall.RawConn {
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

// writeOp is one call of write. It is pooled, so that neither a write nor an idle
// connection allocates for it.
type writeOp struct {
	w   *wire
	p   []byte
	n   int
	err error
	f   func(fd uintptr) bool // o.try, bound once
}

var writeOps = sync.Pool{New: func() any {
	o := new(writeOp)
	o.f = o.try
	return o
}}

// writeRaw writes all of p. Concurrent writes do not mix.
func (w *wire) writeRaw(p []byte) (int, error) {
	o := writeOps.Get().(*writeOp)
	o.w, o.p, o.n, o.err = w, p, 0, nil
	err := w.raw.Write(o.f)
	n, waited := o.n, o.w == nil
	if err == nil {
		err = o.err
	}
	o.w, o.p, o.err = nil, nil, nil
	writeOps.Put(o)
	var armed time.Time
	if waited {
		armed = w.disarm()
	}
	if err == nil {
		return n, nil
	}
	return n, w.sendError(w.asWrite(err), armed)
}

// try writes what the socket takes. It returns false to be called again when the
// socket takes more, or when the deadline has passed.
func (o *writeOp) try(fd uintptr) bool {
	for {
		m, err := unix.Write(int(fd), o.p[o.n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if o.w != nil { // the first time
				o.w.arm()
				o.w = nil
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
func (w *wire) asWrite(err error) error { return asOp("write", w.Conn, err) }

func asOp(op string, nc net.Conn, err error) error {
	if oe, ok := err.(*net.OpError); ok {
		err = oe.Err
	}
	return opError(op, nc, err)
}
