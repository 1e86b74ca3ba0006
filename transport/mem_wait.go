package transport

// waitReadable returns when a Read would not block, and that Read says why: there is
// data, an end, or a deadline that has passed.
func (c *memConn) waitReadable() {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.buf == nil && !h.eof && h.reader == memOpen && h.writer != memClosed && !h.readDeadline.expired {
		h.cond.Wait()
	}
}
