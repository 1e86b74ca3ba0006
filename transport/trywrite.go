package transport

// TryWrite takes nothing on connections on which this package makes no system calls, except on
// those of [Mem]. It is a method of engineConn, and not called by one, because every frame on the
// way to the socket adds to the stack of idle connections.
func (e *engineConn) TryWrite(p []byte) (n int, err error) {
	c := (*Conn)(e)
	w := &c.raw
	if c.top != w || w.sys == nil || c.tracer.Load() != nil {
		return c.tryOther(p)
	}
	if !w.sending.TryLock() {
		return 0, nil
	}
	n, err = w.writeRaw(p, false)
	w.sending.Unlock()
	if n > 0 || err != nil {
		c.writes.Add(1)
		c.writeBytes.Add(uint64(n))
	}
	return n, err
}

// tryOther is TryWrite but for plain sockets that nobody traces.
//
//go:noinline
func (c *Conn) tryOther(p []byte) (n int, err error) {
	if w := &c.raw; c.top != w {
		n, err = c.tryRecord(p)
	} else if w.sys != nil {
		if w.sending.TryLock() {
			n, err = w.writeRaw(p, false)
			w.sending.Unlock()
		}
	} else if m, ok := c.raw.Conn.(*memConn); ok {
		n, err = m.tryWrite(p)
	}
	if n > 0 || err != nil {
		c.countWrite(n, p, err)
	}
	return n, err
}

// tryRecord writes p through TLS, while the wire keeps what does not go out at once.
func (c *Conn) tryRecord(p []byte) (int, error) {
	w := &c.raw
	if w.sys == nil || len(p) == 0 || !c.records.TryLock() {
		return 0, nil
	}
	defer c.records.Unlock()
	if c.unflushed() {
		return 0, nil
	}
	w.trying.Store(true)
	defer w.trying.Store(false)
	return c.top.Write(p)
}

// Unsent reports whether TryWrite has kept something that waits for a Flush.
func (c *Conn) unflushed() bool {
	w := &c.raw
	if c.top == w || w.sys == nil {
		return false
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return len(w.kept) > 0
}

// Flush writes what TryWrite has kept, within the send timeout.
func (c *Conn) flush() error {
	w := &c.raw
	if w.sys == nil {
		return nil
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return w.flushKept()
}

// flushKept is called with sending held.
func (w *rawConn) flushKept() error {
	if len(w.kept) == 0 {
		return nil
	}
	n, err := w.writeRaw(w.kept, true)
	if w.kept = w.kept[n:]; len(w.kept) == 0 { // else the rest of the record must follow before any other
		w.kept = nil
	}
	return err
}

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

// CanTry reports whether TryWrite is of use: whether it takes anything at all.
func (c *Conn) canTryWrite() bool {
	if c.raw.sys != nil {
		return true
	}
	_, mem := c.raw.Conn.(*memConn)
	return mem && c.top == &c.raw
}
