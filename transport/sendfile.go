package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// maxChunk is a size that one system call accepts on every system.
const maxChunk = 1 << 30

// SendFile sends length bytes of f from offset on, and returns the number of bytes sent. A length
// of 0 sends the rest of the file. If the file ends earlier, or is truncated meanwhile, its end is
// no error. Negative values are refused. The position of f is neither used nor moved, so one file
// may be sent to several connections at once.
//
// chunk is the number of bytes that must be sent within one send timeout; 0 is 256 KiB. Concurrent
// writes are sent between two chunks.
//
// On Linux, plain TCP and Unix sockets use sendfile(2). Otherwise, and over TLS, the file is copied
// in pieces of at most 64 KiB, to each of which the send timeout applies.
func (c *Conn) SendFile(f *os.File, offset, length, chunk int64) (n int64, err error) {
	if err := checkRange(offset, length, chunk); err != nil {
		return 0, opError("write", c.raw.Conn, err)
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// The files of /proc report a size of 0.
	if offset > 0 && fi.Mode().IsRegular() && offset >= fi.Size() {
		return 0, nil
	}
	if chunk = min(chunk, maxChunk); chunk == 0 {
		chunk = fileChunk
	}
	left := length
	if length == 0 {
		left = math.MaxInt64
	}
	kernel := c.top() == nil && c.raw.sys != nil && canSendFile
	for n < left {
		piece := min(chunk, left-n)
		var m int64
		if kernel {
			m, _, err = c.sendPiece(piece, func(k int64) (int64, error) { return c.sendFileKernel(f, offset+n, k) })
		} else {
			m, err = c.copyFile(f, offset+n, piece)
		}
		n += m
		switch {
		case err == io.EOF:
			return n, nil
		case err == errNoSendFile:
			kernel = false
		case err != nil:
			return n, err
		}
	}
	return n, nil
}

// errNoSendFile reports that the kernel cannot send from the file.
var errNoSendFile = errors.New("sendfile: unsupported file")

func checkRange(offset, length, chunk int64) error {
	var faults []error
	for _, v := range []struct {
		name  string
		value int64
	}{{"offset", offset}, {"length", length}, {"chunk", chunk}} {
		if v.value < 0 {
			faults = append(faults, fmt.Errorf("send file: %s %d: allowed are 0 and positive numbers: %w", v.name, v.value, os.ErrInvalid))
		}
	}
	return errors.Join(faults...)
}

// copyFile sends at most n bytes of f from offset on. It returns io.EOF at the end of the file.
func (c *Conn) copyFile(f *os.File, offset, n int64) (int64, error) {
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	k, rerr := f.ReadAt(b[:min(n, bufferSize)], offset)
	if k > 0 {
		if m, err := c.Write(b[:k]); err != nil {
			return int64(m), err
		}
	}
	return int64(k), rerr
}
