package transport

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const canSendFile = true

// fileOp is the state of one chunk.
type fileOp struct {
	w      *rawConn
	in     int
	offset int64
	n, m   int64 // bytes to send, bytes sent
	err    error
	waited bool
}

// sendFileKernel sends at most n bytes of f from offset on, within the send timeout. It returns
// io.EOF at the end of the file. Like a write, it arms a timer only if it has to wait.
func (c *Conn) sendFileKernel(f *os.File, offset, n int64) (int64, error) {
	w := &c.raw
	src, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	o := &fileOp{w: w, offset: offset, n: n}
	err = src.Control(func(in uintptr) {
		o.in = int(in)
		if werr := w.sys.Write(o.try); werr != nil {
			o.err = werr
		}
	})
	var armed time.Time
	if o.waited {
		armed = w.disarm()
	}
	if o.m > 0 {
		c.countWrite(int(o.m), nil, o.err)
	}
	switch {
	case err != nil: // the file is closed
		return o.m, err
	case o.err == nil || o.err == io.EOF || o.err == errNoSendFile:
		return o.m, o.err
	}
	return o.m, w.sendError(w.asWrite(o.err), armed)
}

// try sends as much as the socket takes. It returns false to be called again when the socket is
// writable.
func (o *fileOp) try(fd uintptr) bool {
	for o.m < o.n {
		k, err := unix.Sendfile(int(fd), o.in, &o.offset, int(o.n-o.m))
		o.m += int64(max(k, 0))
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if !o.waited {
				o.waited = true
				o.w.arm()
			}
			return false
		case o.m == 0 && (err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP):
			o.err = errNoSendFile
			return true
		case err != nil:
			o.err = os.NewSyscallError("sendfile", err)
			return true
		case k <= 0:
			o.err = io.EOF
			return true
		}
	}
	return true
}
