package transport

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// memPair is one connection: both ends in one allocation, of which each keeps the other alive.
//
// Lock order: none. Each direction has its own mutex, no method holds two of
// them, and nothing is shared with other connections but the pools of buffers.
type memPair struct {
	client, server memConn
	listener       net.Addr // kept as an interface, so that asking for it does not allocate
	id             uint64
}

func newMemPair(listener net.Addr, id uint64) *memPair {
	p := &memPair{listener: listener, id: id}
	p.client.init(p)
	p.server.init(p)
	p.server.isServer = true
	return p
}

// clientAddr is made when it is asked for: most servers of a million never ask.
func (p *memPair) clientAddr() net.Addr {
	return MemAddr("mem:client-" + strconv.FormatUint(p.id, 10))
}

// memConn is one end of a memPair. It behaves as a *net.TCPConn does on Linux,
// except where its methods say otherwise.
type memConn struct {
	in       memHalf // what the peer sends to us
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

// Read returns what is there, and waits only if nothing is. What was sent
// before the peer closed or reset the connection is read first.
// A reset stays: Linux reports it once and then says EOF.
func (c *memConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Write returns when all of p is in the peer's buffer, of 64 KiB, or with the
// number of bytes that came so far. The bytes of concurrent Writes do not mix.
// A peer that is gone shows in the first Write already, as EPIPE.
func (c *memConn) Write(p []byte) (int, error) {
	n, err := c.out().write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close ends both directions and wakes whoever is blocked on this end. The peer
// still reads what was sent to it, then EOF; or ECONNRESET if we leave something
// unread. A second Close does nothing and returns an error that is net.ErrClosed.
func (c *memConn) Close() error {
	unread, err := c.in.closeReader()
	if err != nil {
		return c.opError("close", err)
	}
	c.out().closeWriter(unread)
	return nil
}

// reset is a Close after SetLinger(0).
func (c *memConn) reset() {
	if _, err := c.in.closeReader(); err == nil {
		c.out().closeWriter(true)
	}
}

// SetLinger with 0 makes Close reset the peer in any case. Other values restore the
// usual Close: there is nothing to linger for, since what was written has arrived.
func (c *memConn) SetLinger(sec int) error {
	return c.setError(c.in.setAbort(sec == 0))
}

// CloseWrite makes the peer read EOF after what was sent. Reading goes on.
func (c *memConn) CloseWrite() error {
	return c.closeError(c.out().shutWriter())
}

// CloseRead discards what is unread and what would come: the peer's Writes fail
// with EPIPE, as on a Unix socket, and our Reads return EOF.
func (c *memConn) CloseRead() error {
	return c.closeError(c.in.shutReader())
}

func (c *memConn) closeError(err error) error {
	if err != nil {
		return c.opError("close", err)
	}
	return nil
}

// LocalAddr is the listener's name on the server's side, "mem:client-N" on the client's.
func (c *memConn) LocalAddr() net.Addr {
	if c.isServer {
		return c.pair.listener
	}
	return c.pair.clientAddr()
}

// RemoteAddr is the peer's LocalAddr.
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

// What the kernel says of a connection that the peer ended, in the form in which net wraps it.
var (
	errMemReset = os.NewSyscallError("read", syscall.ECONNRESET)
	errMemPipe  = os.NewSyscallError("write", syscall.EPIPE)
)

// memState says how far one side of a direction has ended. It only grows.
type memState uint8

const (
	memOpen   memState = iota
	memShut            // by CloseRead or CloseWrite
	memClosed          // by Close
)

// memHalf is one direction, from its writer to its reader.
//
// Bytes go from the Write straight into the slice of a Read that waits for them,
// and into the buffer only if there is none: that saves a fifth of an echo of 64
// bytes, half of one of 16 KiB. With a mutex for each pair two busy directions take 1.6 times as
// long, with new buffers instead of pools an echo takes 2 to 7 times as long.
type memHalf struct {
	mu   sync.Mutex
	cond sync.Cond // one for both sides: readers wait on empty, writers on full

	buf    *memBuf // nil when nothing is buffered; what it holds is younger than what was handed
	hand   []byte  // room left in the slice of the one Read that takes bytes without buf
	handed int     // bytes put into that slice so far
	taking bool    // there is such a Read

	writing bool // a Write waits for room, in the middle of its bytes: the others queue behind it
	abort   bool // the reader's Close resets the peer even if nothing is unread
	eof     bool // the writer said so: by CloseWrite, or by a Close that was no reset

	reader, writer              memState
	readDeadline, writeDeadline memDeadline
}

func (h *memHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if n, err := h.take(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if h.taking {
			h.cond.Wait()
			continue
		}
		h.hand, h.handed, h.taking = p, 0, true
		h.cond.Wait()
		h.hand, h.taking = nil, false
		if h.handed > 0 { // has been read, whatever happened to the connection meanwhile
			return h.handed, nil
		}
	}
}

// take reads without waiting, and returns 0 and nil if it would have to. The
// order is that of net: a closed end and a passed deadline win over data.
func (h *memHalf) take(p []byte) (int, error) {
	switch {
	case h.reader == memClosed:
		return 0, net.ErrClosed
	case len(p) == 0:
		return 0, nil
	case h.readDeadline.expired:
		return 0, os.ErrDeadlineExceeded
	case h.buf != nil:
		n := h.buf.read(p)
		if h.buf.n == 0 {
			h.release()
		}
		h.cond.Broadcast()
		return n, nil
	case h.reader == memShut || h.eof:
		return 0, io.EOF
	case h.writer == memClosed:
		return 0, errMemReset
	}
	return 0, nil
}

func (h *memHalf) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.cond.Broadcast()
	defer h.mu.Unlock()
	for h.writing && h.writeError() == nil {
		h.cond.Wait()
	}
	for {
		if err = h.writeError(); err != nil {
			return n, err
		}
		n += h.put(p[n:])
		if n == len(p) {
			return n, nil
		}
		h.writing = true
		h.cond.Broadcast()
		h.cond.Wait()
		h.writing = false
	}
}

func (h *memHalf) writeError() error {
	switch {
	case h.writer == memClosed:
		return net.ErrClosed
	case h.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	case h.writer == memShut || h.reader != memOpen:
		return errMemPipe
	}
	return nil
}

// put stores what there is room for, without waiting.
func (h *memHalf) put(p []byte) (n int) {
	n = copy(h.hand, p) // has no room once buf is in use, so this keeps the order
	h.hand = h.hand[n:]
	h.handed += n
	p = p[n:]
	if len(p) == 0 {
		return n
	}
	if h.buf == nil {
		h.buf = getMemBuf(len(p))
	} else {
		h.buf = h.buf.grow(len(p))
	}
	return n + h.buf.write(p)
}

// release gives the buffer back, with what it holds.
func (h *memHalf) release() {
	if h.buf != nil {
		putMemBuf(h.buf)
		h.buf = nil
	}
}

// closeReader is Close for this direction's reader. unread says that the peer must be reset.
func (h *memHalf) closeReader() (unread bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == memClosed {
		return false, net.ErrClosed
	}
	unread = h.buf != nil || h.abort
	h.reader = memClosed
	h.release()
	h.readDeadline.stop()
	h.cond.Broadcast()
	return unread, nil
}

// closeWriter is Close for this direction's writer. A reset comes too late for
// a reader that has been promised EOF.
func (h *memHalf) closeWriter(reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof = h.eof || !reset
	h.writer = memClosed
	h.writeDeadline.stop()
	h.cond.Broadcast()
}

func (h *memHalf) shutReader() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == memClosed {
		return net.ErrClosed
	}
	h.reader = memShut
	h.release()
	h.cond.Broadcast()
	return nil
}

func (h *memHalf) shutWriter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writer == memClosed {
		return net.ErrClosed
	}
	h.writer, h.eof = memShut, true
	h.cond.Broadcast()
	return nil
}

func (h *memHalf) setAbort(abort bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == memClosed {
		return net.ErrClosed
	}
	h.abort = abort
	return nil
}

func (h *memHalf) setReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == memClosed {
		return net.ErrClosed
	}
	h.readDeadline.set(t, &h.cond)
	return nil
}

func (h *memHalf) setWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writer == memClosed {
		return net.ErrClosed
	}
	h.writeDeadline.set(t, &h.cond)
	return nil
}

// memBuf is a ring of bytes that never is empty while a memHalf has it.
type memBuf struct {
	data []byte
	r, n int
}

const memBufMax = 64 << 10

var memBufPools [5]sync.Pool // of 256 B, 1, 4, 16 and 64 KiB

func memBufClass(size int) (class, capacity int) {
	capacity = 256
	for capacity < size && capacity < memBufMax {
		capacity *= 4
		class++
	}
	return class, capacity
}

func getMemBuf(size int) *memBuf {
	class, capacity := memBufClass(size)
	if b, ok := memBufPools[class].Get().(*memBuf); ok {
		return b
	}
	return &memBuf{data: make([]byte, capacity)}
}

func putMemBuf(b *memBuf) {
	b.r, b.n = 0, 0
	class, _ := memBufClass(len(b.data))
	memBufPools[class].Put(b)
}

// grow returns a buffer with the same bytes and room for more of them, up to the
// bound; it is b itself if that has room, or cannot have more.
func (b *memBuf) grow(more int) *memBuf {
	if b.n+more <= len(b.data) || len(b.data) == memBufMax {
		return b
	}
	bigger := getMemBuf(b.n + more)
	bigger.n = b.read(bigger.data)
	putMemBuf(b)
	return bigger
}

func (b *memBuf) read(p []byte) int {
	p = p[:min(len(p), b.n)]
	first := copy(p, b.data[b.r:])
	copy(p[first:], b.data)
	b.r = (b.r + len(p)) % len(b.data)
	b.n -= len(p)
	return len(p)
}

func (b *memBuf) write(p []byte) int {
	p = p[:min(len(p), len(b.data)-b.n)]
	w := (b.r + b.n) % len(b.data)
	first := copy(b.data[w:], p)
	copy(b.data, p[first:])
	b.n += len(p)
	return len(p)
}
