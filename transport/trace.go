package transport

// TraceEvent is one read or write of a traced connection.
type TraceEvent struct {
	Conn *Conn
	Op   string // "read" or "write"
	N    int    // bytes transferred
	Data []byte // the bytes, valid only during the call; nil if the kernel moved them
	Err  error
}

// tracer receives the reads and writes of a connection, in the goroutine that reads or writes.
type tracer = func(TraceEvent)

func (c *Conn) trace(op string, n int, p []byte, err error) {
	f := c.raw.traced()
	if f == nil {
		return // the tracer was removed after the caller's check
	}
	if p != nil {
		p = p[:n]
	}
	(*f)(TraceEvent{c, op, n, p, err})
}
