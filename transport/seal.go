package transport

// sealed is the bit of the counters of bytes that is set when the owner has taken their final
// value. A write that the end of the connection has interrupted returns after that, and may have
// sent a part of its data. The bit is seen in the result of the addition that counts them, so that
// nothing is lost and a read or a write costs no additional load.
const sealed = 1 << 63

// seal implements Seal of engine.Conn.
func (c *Conn) seal() (read, written uint64) {
	return c.readBytes.Or(sealed) &^ sealed, c.writeBytes.Or(sealed) &^ sealed
}

// bytes implements Bytes of engine.Conn. The written bytes are loaded last, as they are sealed
// last.
func (c *Conn) bytes() (read, written uint64, isSealed bool) {
	read, written = c.readBytes.Load(), c.writeBytes.Load()
	return read &^ sealed, written &^ sealed, (read|written)&sealed != 0
}

// countLate reports bytes that were counted after seal.
//
//go:noinline
func (c *Conn) countLate(read, written int) {
	if o, ok := c.owner.(interface{ CountLate(read, written uint64) }); ok && read+written > 0 {
		o.CountLate(uint64(read), uint64(written))
	}
}
