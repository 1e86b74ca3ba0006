package transport

// Established ends the login phase of the connection: a protocol calls it when the client has
// authenticated, or has otherwise proved that it speaks the protocol. Until then the limits
// LoginTimeout and MaxUnestablished of package conns apply, if they are set. Without them, or for a
// connection that no supervisor runs, it does nothing.
//
// It may be called from any goroutine, at any time, and more than once.
func (c *Conn) Established() {
	if o, ok := c.owner.(interface{ Established() }); ok {
		o.Established()
	}
}
