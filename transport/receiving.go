package transport

// SetReceiving sets whether the peer is in the middle of a message: the first part of it has been
// read, and the protocol waits for the rest. During a message the limit MinReceiveRate of package
// conns applies. A message that follows another begins with SetReceiving(false) and
// SetReceiving(true).
//
// Only the goroutine that reads the connection may call it. Protocols made by protocol.Handle with
// a codec need not: each frame is a message.
func (c *Conn) SetReceiving(on bool) {
	if n := c.receiving.Load(); n&1 == 1 != on {
		c.receiving.Store(n + 1)
	}
}
