package transport

// TryWrite takes nothing on connections on which this package makes no system calls, except on
// those of [Mem]. It is a method of engineConn, and not a wrapper of a method of Conn, because
// every stack frame on the way to the system call adds to the stack of idle connections.
func (e *engineConn) TryWrite(p []byte) (n int, err error) {
	c := (*Conn)(e)
	w := &c.raw
	if c.top() != nil || w.sys == nil || w.traced() != nil || w.limited() != nil {
		return c.tryOther(p)
	}
	if !w.sending.TryLock() {
		return 0, nil
	}
	n, err = w.writeRaw(p, false)
	w.sending.Unlock()
	if n > 0 || err != nil {
		c.writes.Add(1)
		if c.writeBytes.Add(uint64(n)) >= sealed {
			c.countLate(0, n)
		}
	}
	return n, err
}

// tryOther is TryWrite for everything but plain sockets that are neither traced nor limited.
//
//go:noinline
func (c *Conn) tryOther(p []byte) (n int, err error) {
	if f := c.raw.limited(); f != nil {
		return c.tryLimited(f, p)
	}
	return c.tryNow(p)
}

func (c *Conn) tryNow(p []byte) (n int, err error) {
	if w := &c.raw; c.top() != nil {
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

// tryRecord writes p through TLS. Bytes that the socket does not take are kept in layer.unflushed.
func (c *Conn) tryRecord(p []byte) (int, error) {
	w := &c.raw
	l := w.layer.Load()
	if w.sys == nil || len(p) == 0 || !l.records.TryLock() {
		return 0, nil
	}
	defer l.records.Unlock()
	if c.unflushed() {
		return 0, nil
	}
	l.trying.Store(true)
	defer l.trying.Store(false)
	return l.top.Write(p)
}

// unflushed reports whether the rest of a record waits for flush.
func (c *Conn) unflushed() bool {
	w := &c.raw
	if c.top() == nil || w.sys == nil {
		return false
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return len(w.layer.Load().unflushed) > 0
}

// flush writes the rest of a record, within the send timeout.
func (c *Conn) flush() error {
	w := &c.raw
	l := w.layer.Load()
	if w.sys == nil || l == nil {
		return nil
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	return w.flushRecord(l)
}

// canTryWrite reports whether TryWrite ever takes anything.
func (c *Conn) canTryWrite() bool {
	if c.raw.sys != nil {
		return true
	}
	_, mem := c.raw.Conn.(*memConn)
	return mem && c.top() == nil
}
