package transport

// waitReadable returns when a Read would not block: there is data, an end, or an error.
func (c *memConn) waitReadable() error {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.buf == nil && !h.eof && h.reader == memOpen && h.writer != memClosed && !h.readDeadline.expired {
		h.cond.Wait()
	}
	return nil
}
