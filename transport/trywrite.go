package transport

// TryWrite writes as much of p as can be written without waiting, and returns how much that
// was: less than all of it, without an error, if the peer does not keep up.
//
// Over TLS a record cannot be left half written: TryWrite takes all of p or nothing, and
// what the socket does not take of the record is kept. [Conn.Unsent] reports that; then
// TryWrite takes nothing until [Conn.Flush], or any Write, has sent it.
//
// Connections of which the system calls are not ours, and that are not of [Mem], take
// nothing: write to them. While a Write is in progress TryWrite takes nothing either, but
// over TLS it waits for it.
func (c *Conn) TryWrite(p []byte) (n int, err error) {
	if c.top == &c.wire {
		n, err = c.wire.tryWrite(p)
	} else {
		n, err = c.tryRecord(p)
	}
	if n > 0 || err != nil {
		c.countWrite(n, p, err)
	}
	return n, err
}

// tryRecord writes p through TLS, while the wire keeps what does not go out at once.
func (c *Conn) tryRecord(p []byte) (int, error) {
	w := &c.wire
	if w.raw == nil || len(p) == 0 || c.Unsent() {
		return 0, nil
	}
	w.trying.Store(true)
	defer w.trying.Store(false)
	return c.top.Write(p)
}

// Unsent reports whether TryWrite has kept something that waits for a Flush.
func (c *Conn) Unsent() bool {
	w := &c.wire
	if w.raw == nil {
		return false
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return len(w.kept) > 0
}

// Flush writes what TryWrite has kept, within the send timeout.
func (c *Conn) Flush() error {
	w := &c.wire
	if w.raw == nil {
		return nil
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return w.flushKept()
}

// flushKept is called with sending held.
func (w *wire) flushKept() error {
	if len(w.kept) == 0 {
		return nil
	}
	n, err := w.writeRaw(w.kept, true)
	if w.kept = w.kept[n:]; len(w.kept) == 0 {
		w.kept = nil
	}
	return err // what is left of a record is not lost: a deadline is not the end
}

// tryWrite writes what the socket takes.
func (w *wire) tryWrite(p []byte) (int, error) {
	if w.raw == nil {
		if m, ok := w.Conn.(*memConn); ok {
			return m.tryWrite(p)
		}
		return 0, nil
	}
	if !w.sending.TryLock() {
		return 0, nil
	}
	defer w.sending.Unlock()
	if len(w.kept) > 0 {
		return 0, nil
	}
	return w.writeRaw(p, false)
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
func (c *Conn) CanTry() bool {
	if c.wire.raw != nil {
		return true
	}
	_, mem := c.wire.Conn.(*memConn)
	return mem && c.top == &c.wire
}
