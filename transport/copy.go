package transport

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"goranch/internal/engine"
)

const (
	bufferSize = engine.ReadSize
	fileChunk  = 256 << 10 // bytes of a file that must be sent within one send timeout
)

// buffers are used by connections only while they transfer data.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

type buffer = *[bufferSize]byte

// WriteTo copies the received data to w until the end of the stream, an error, or StopReading. It
// is called by io.Copy(w, conn). The end of the stream is no error.
//
// While it waits it holds no buffer, over TLS too; for data that has arrived it uses a buffer of up
// to 64 KiB from a pool. Between two plain TCP connections on Linux, bulk data is spliced in the
// kernel.
func (c *Conn) WriteTo(w io.Writer) (int64, error) { return c.copyTo(w, -1) }

// ReadFrom sends the data that it reads from r until r ends. It is called by io.Copy(conn, r).
//
// A regular file, or a part of one (io.LimitedReader), is sent by sendfile on plain TCP. From
// another Conn, ReadFrom copies as WriteTo does. The send timeout applies to each piece of 256 KiB.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	limit, src := int64(-1), r
	lr, limited := r.(*io.LimitedReader)
	if limited {
		limit, src = max(lr.N, 0), lr.R
	}
	var n int64
	var err error
	switch src := src.(type) {
	case *Conn:
		n, err = src.copyTo(c, limit)
	case file:
		tc := c.plainTCP()
		if fi, ferr := src.Stat(); tc == nil || ferr != nil || !fi.Mode().IsRegular() {
			return c.readFrom(r)
		}
		n, err = c.sendFile(tc, src, limit)
	default:
		return c.readFrom(r)
	}
	if limited {
		lr.N -= n
	}
	return n, err
}

// file is implemented by *os.File, and by the wrapper that (*os.File).WriteTo, and hence io.Copy,
// passes to ReadFrom.
type file interface {
	io.Reader
	syscall.Conn
	Stat() (os.FileInfo, error)
}

// plainTCP returns the TCP connection that carries the payload unchanged; nil if there is none.
func (c *Conn) plainTCP() *net.TCPConn {
	if c.top() != nil {
		return nil
	}
	tc, _ := c.raw.Conn.(*net.TCPConn)
	return tc
}

func (c *Conn) readFrom(r io.Reader) (n int64, err error) {
	b := buffers.Get().(buffer)
	defer buffers.Put(b)
	for {
		m, rerr := r.Read(b[:])
		if m > 0 {
			k, werr := c.Write(b[:m])
			n += int64(k)
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}

// sendFile sends limit bytes of f from its position on, or all if limit is negative.
func (c *Conn) sendFile(tc *net.TCPConn, f io.Reader, limit int64) (n int64, err error) {
	for limit != n {
		chunk := int64(fileChunk)
		if limit >= 0 {
			chunk = min(chunk, limit-n)
		}
		m, most, err := c.sendPiece(chunk, func(n int64) (int64, error) { return c.sendKernel(tc, f, n) })
		n += m
		if err != nil || m < most {
			return n, err
		}
	}
	return n, nil
}

// sendKernel has the kernel move n bytes from src to tc, within the send timeout.
func (c *Conn) sendKernel(tc *net.TCPConn, src io.Reader, n int64) (int64, error) {
	w := &c.raw
	w.sending.Lock()
	defer w.sending.Unlock()
	w.arm()
	m, err := tc.ReadFrom(&io.LimitedReader{R: src, N: n})
	err = w.sendError(err, w.disarm())
	if m > 0 {
		c.countWrite(int(m), nil, err)
	}
	return m, err
}

// copyTo copies at most limit bytes, or all if limit is negative.
func (c *Conn) copyTo(w io.Writer, limit int64) (n int64, err error) {
	r := c.pooledReader(nil)
	defer r.Free()
	dst := c.spliceTarget(w)
	for limit != n {
		max := bufferSize
		if limit >= 0 {
			max = int(min(limit-n, bufferSize))
		}
		data, rerr := r.Next(max)
		if len(data) > 0 {
			m, werr := w.Write(data)
			n += int64(m)
			if werr == nil && m < len(data) {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
		if dst != nil && len(data) == bufferSize { // bulk
			m, err := c.splice(dst, limit-n)
			n += m
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// spliceTarget returns w as a Conn if bulk data can be spliced to it; otherwise nil.
func (c *Conn) spliceTarget(w io.Writer) *Conn {
	dst, ok := w.(*Conn)
	if !ok || dst == c || !canSplice || c.plainTCP() == nil || dst.plainTCP() == nil {
		return nil
	}
	return dst
}
