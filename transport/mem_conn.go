package transport

import (
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// memPair is one connection. Both ends are in one allocation, which is freed when neither is
// reachable.
//
// Each direction has a mutex of its own. No method holds two of them, and connections share nothing
// but the pools of buffers.
type memPair struct {
	client, server memConn
	listener       net.Addr // stored as an interface so that returning it does not allocate
	id             uint64
}

func newMemPair(listener net.Addr, id uint64) *memPair {
	p := &memPair{listener: listener, id: id}
	p.client.init(p)
	p.server.init(p)
	p.server.isServer = true
	return p
}

// clientAddr creates the address on demand: most servers never need it.
func (p *memPair) clientAddr() net.Addr {
	return memAddr("mem:client-" + strconv.FormatUint(p.id, 10))
}

// memConn is one end of a memPair. It behaves as a *net.TCPConn does on Linux, except as stated by
// its methods.
type memConn struct {
	in       memHalf // the direction from the peer
	pair     *memPair
	isServer bool
}

func (c *memConn) init(p *memPair) {
	c.pair = p
	c.in.cond.L = &c.in.mu
}

func (c *memConn) out() *memHalf {
	if c.isServer {
		return &c.pair.client.in
	}
	return &c.pair.server.in
}

// Read returns data that has arrived, and waits if there is none. Data that was sent before the
// peer closed or reset the connection is read first. After a reset all reads return ECONNRESET;
// Linux reports it once and then EOF.
func (c *memConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Write returns when all of p is in the buffer of the peer, or an error with the number of bytes
// buffered until then. Concurrent writes are not interleaved. If the peer has closed, the first
// Write returns EPIPE.
func (c *memConn) Write(p []byte) (int, error) {
	n, err := c.out().write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close closes both directions and makes blocked calls on this end fail. The peer reads the data
// that was sent to it, then EOF, or ECONNRESET if this end has unread data. Later calls return
// net.ErrClosed.
func (c *memConn) Close() error {
	unread, err := c.in.closeReader()
	if err != nil {
		return c.opError("close", err)
	}
	c.out().closeWriter(unread)
	return nil
}

// reset is Close after SetLinger(0).
func (c *memConn) reset() {
	if _, err := c.in.closeReader(); err == nil {
		c.out().closeWriter(true)
	}
}

// SetLinger(0) makes Close reset the connection. Other values restore the normal Close: written
// data is already in the buffer of the peer, so there is nothing to wait for.
func (c *memConn) SetLinger(sec int) error {
	return c.setError(c.in.setAbort(sec == 0))
}

// CloseWrite makes the peer read EOF after the data that was sent.
func (c *memConn) CloseWrite() error {
	return c.closeError(c.out().shutWriter())
}

// CloseRead discards unread and later data: reads return EOF, and writes of the peer fail with
// EPIPE, as on a Unix socket.
func (c *memConn) CloseRead() error {
	return c.closeError(c.in.shutReader())
}

func (c *memConn) closeError(err error) error {
	if err != nil {
		return c.opError("close", err)
	}
	return nil
}

// LocalAddr returns the name of the listener on the server's side, "mem:client-N" on the client's
// side.
func (c *memConn) LocalAddr() net.Addr {
	if c.isServer {
		return c.pair.listener
	}
	return c.pair.clientAddr()
}

// RemoteAddr returns the LocalAddr of the peer.
func (c *memConn) RemoteAddr() net.Addr {
	if c.isServer {
		return c.pair.clientAddr()
	}
	return c.pair.listener
}

func (c *memConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	return c.setError(c.in.setReadDeadline(t))
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	return c.setError(c.out().setWriteDeadline(t))
}

func (c *memConn) setError(err error) error {
	if err != nil {
		return &net.OpError{Op: "set", Net: memNetwork, Addr: c.LocalAddr(), Err: err}
	}
	return nil
}

func (c *memConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: memNetwork, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// The errors of the kernel for a TCP connection that the peer has closed, wrapped as package net
// does.
var (
	errMemReset = os.NewSyscallError("read", syscall.ECONNRESET)
	errMemPipe  = os.NewSyscallError("write", syscall.EPIPE)
)
