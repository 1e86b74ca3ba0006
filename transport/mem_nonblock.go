package transport

func (c *memConn) tryWrite(p []byte) (int, error) {
	n, err := c.out().tryWrite(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

func (h *memHalf) tryWrite(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.cond.Broadcast()
	defer h.mu.Unlock()
	if err := h.writeError(); err != nil || h.writing {
		return 0, err
	}
	return h.put(p), nil
}

// WaitReadable implements [engine.ReadableWaiter].
func (c *memConn) WaitReadable() {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.readable() {
		h.cond.Wait()
	}
}

func (h *memHalf) readable() bool {
	return h.buf != nil || h.eof || h.reader != memOpen || h.writer == memClosed || h.readDeadline.expired
}

// Receive implements [engine.Receiver].
func (c *memConn) Receive(data func([]byte), ended func()) {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.buf != nil {
		b := h.buf
		n := min(b.n, len(b.data)-b.r)
		data(b.data[b.r : b.r+n])
		if b.skip(n); b.n == 0 {
			h.release()
		}
	}
	h.receive = data
	h.onReadable = ended
	h.notify()
	h.cond.Broadcast() // a writer may wait for space
}

// NotifyReadable has f called once, in a goroutine of its own, as soon as Read would not block:
// there is data, or Read fails. It returns false, without effect, if that is so already. Nothing
// may read the connection until then.
func (c *memConn) NotifyReadable(f func()) bool {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readable() {
		return false
	}
	h.onReadable = f
	return true
}

// notify calls the function of NotifyReadable if Read would not block any more. h.mu is held,
// unless h is nil.
func (h *memHalf) notify() {
	if h != nil && h.onReadable != nil && h.readable() {
		go h.onReadable()
		h.onReadable = nil
	}
}
