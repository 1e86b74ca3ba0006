package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// maxChunk keeps a chunk within what one system call takes, on every system.
const maxChunk = 1 << 30

// SendFile sends length bytes of f from offset on, and returns how many went out. A
// length of 0 sends everything to the end. Where the file ends before, or has been
// truncated meanwhile, what is there is sent and that is no error. Negative values are
// refused. f's position is neither used nor moved, so one file may be sent to many at
// once. To send a file by its name, os.Open it first.
//
// chunk is how many bytes must get out within one send timeout; 0 is 256 KiB. Writes of
// others come between two chunks, not into one.
//
// On Linux, plain TCP and Unix sockets are sent to without copying (sendfile). Over TLS,
// and elsewhere, the file is copied by pieces of 64 KiB at most, each with a send timeout
// of its own.
func (c *Conn) SendFile(f *os.File, offset, length, chunk int64) (n int64, err error) {
	if err := checkRange(offset, length, chunk); err != nil {
		return 0, opError("write", c.raw.Conn, err)
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// Files of a kernel's (/proc) say that their size is 0.
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
	send := c.copyFile
	if c.top == &c.raw && c.raw.sys != nil && canSendFile {
		send = c.sendFileKernel
	}
	for n < left {
		m, err := send(f, offset+n, min(chunk, left-n))
		n += m
		switch {
		case err == io.EOF:
			return n, nil
		case err == errNoSendFile:
			send = c.copyFile
		case err != nil:
			return n, err
		}
	}
	return n, nil
}

// errNoSendFile says that the kernel cannot send from that file itself.
var errNoSendFile = errors.New("no sendfile from this file")

func checkRange(offset, length, chunk int64) error {
	var faults []error
	for _, v := range []struct {
		name  string
		value int64
	}{{"offset", offset}, {"length", length}, {"chunk", chunk}} {
		if v.value < 0 {
			faults = append(faults, fmt.Errorf("sending a file: %s %d: allowed are 0 and positive numbers: %w", v.name, v.value, os.ErrInvalid))
		}
	}
	return errors.Join(faults...)
}

// copyFile sends at most n bytes of f from offset on; io.EOF says that there are no more.
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
