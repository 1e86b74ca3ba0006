package transport

// TraceOp is what a traced connection does.
type TraceOp uint8

const (
	TraceRead TraceOp = iota
	TraceWrite
)

// String returns "read" or "write".
func (o TraceOp) String() string {
	if o == TraceRead {
		return "read"
	}
	return "write"
}

// TraceEvent is one read or write of a traced connection.
type TraceEvent struct {
	Conn *Conn
	Op   TraceOp
	N    int    // bytes carried
	Data []byte // the bytes, valid during the call only; nil if the kernel moved them
	Err  error
}

// Tracer gets what a connection does. It is called in the goroutine that reads or writes.
type Tracer func(TraceEvent)

func (c *Conn) trace(op TraceOp, n int, p []byte, err error) {
	f := c.tracer.Load()
	if f == nil {
		return // just ended
	}
	if p != nil {
		p = p[:n]
	}
	(*f)(TraceEvent{c, op, n, p, err})
}
