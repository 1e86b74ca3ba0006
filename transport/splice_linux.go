package transport

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

const canSplice = true

// spliceMin is the least number of received bytes for which splice(2) is faster than copying.
const spliceMin = 16 << 10

// spliceChunk is the greatest number of bytes that are moved at once, which is what copying writes
// at once. Bytes are counted after each chunk, and the limits for idle connections need current
// counts.
const spliceChunk = bufferSize

// splice moves received data to dst without copying it to user space, up to limit bytes (negative:
// no limit), while data arrives in bulk.
//
// It requests only data that the socket has received, so that the send timeout of dst does not run
// while the source is slow, and at most spliceChunk bytes at a time, so that a slow receiver need
// not take more within one send timeout. If dst fails, the data in the pipe of the kernel is lost:
// at most one such piece.
func (c *Conn) splice(dst *Conn, limit int64) (n int64, err error) {
	from, to := c.plainTCP(), dst.plainTCP()
	for limit != n {
		if c.raw.limited() != nil || dst.raw.limited() != nil {
			return n, nil // reads and writes enforce the limit of bytes per second; splice does not
		}
		have := min(c.available(), spliceChunk)
		if limit >= 0 {
			have = min(have, limit-n)
		}
		if have < spliceMin {
			return n, nil
		}
		m, err := dst.sendKernel(to, from, have)
		n += m
		c.countRead(int(m), nil, err)
		if errors.Is(err, ErrSendTimeout) { // it matches os.ErrDeadlineExceeded, but is not an error of c
			return n, err
		}
		if err != nil {
			return n, c.raw.readError(err)
		}
		if m < have {
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}

// available returns the number of bytes that the socket has received.
func (c *Conn) available() (n int64) {
	c.raw.sys.Control(func(fd uintptr) {
		have, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err == nil {
			n = int64(have)
		}
	})
	return n
}
