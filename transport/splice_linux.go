package transport

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

const canSplice = true

// spliceMin is how much must have arrived for the kernel's way to be worth its calls.
const spliceMin = 16 << 10

// splice moves what arrives to dst without copying it to user space, up to limit bytes
// (negative: no limit), for as long as it arrives in bulk.
//
// Only what the socket holds already is asked for, so the send timeout of dst never
// runs while it is the source that makes us wait; and no more than a file's piece at a
// time, so that a slow receiver is not to take megabytes within one send timeout.
//
// If dst fails, what the kernel had in hand is lost: at most one such piece.
func (c *Conn) splice(dst *Conn, limit int64) (n int64, err error) {
	from, to := c.plainTCP(), dst.plainTCP()
	for limit != n {
		have := min(c.available(), fileChunk)
		if limit >= 0 {
			have = min(have, limit-n)
		}
		if have < spliceMin {
			return n, nil
		}
		m, err := dst.sendKernel(to, from, have)
		n += m
		c.countRead(int(m), nil, err)
		if errors.Is(err, ErrSendTimeout) { // a deadline's error too, but dst's
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

// available returns how many bytes the socket holds.
func (c *Conn) available() (n int64) {
	c.raw.sys.Control(func(fd uintptr) {
		have, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err == nil {
			n = int64(have)
		}
	})
	return n
}
