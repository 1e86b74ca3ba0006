package transport

import (
	"net"
	"sync"
	"sync/atomic"
)

// layer is what a connection needs for TLS, or another layer above its socket. Plain connections
// have none.
type layer struct {
	top         net.Conn                 // carries the payload; nil: the raw connection carries it so far
	secure      atomic.Pointer[tlsState] // nil: no TLS
	records     sync.Mutex               // held during a write through TLS, which must not overlap TryWrite
	ahead       *ahead                   // payload received through TLS that Peek has read; see rawConn.ahead for plain payload
	wire        *tlsWire                 // nil: bytes between TLS and the socket are not counted
	unflushed   []byte                   // the rest of a record that TryWrite has begun; guarded by rawConn.sending
	trying      atomic.Bool              // TryWrite writes a record: bytes that the socket does not take go to unflushed
	nonblocking bool                     // Read returns errWouldBlock instead of waiting; used by the goroutine that reads
}

// top returns the layer above the raw connection that carries the payload; nil: the raw connection
// carries it.
func (c *Conn) top() net.Conn {
	if l := c.raw.layer.Load(); l != nil {
		return l.top
	}
	return nil
}

// carrier returns what carries the payload.
func (c *Conn) carrier() net.Conn {
	if top := c.top(); top != nil {
		return top
	}
	return &c.raw
}

// needLayer returns the layer. Without one it is called before the connection carries payload, or
// during an upgrade, when no read or write is in progress.
func (w *rawConn) needLayer() *layer {
	l := w.layer.Load()
	if l == nil {
		l = new(layer)
		w.layer.Store(l)
	}
	return l
}

// wire returns the counter of bytes between TLS and the socket; nil: they are not counted.
func (w *rawConn) wire() *tlsWire {
	if l := w.layer.Load(); l != nil {
		return l.wire
	}
	return nil
}

// nonblocking reports whether a read must not wait.
func (w *rawConn) nonblocking() bool {
	l := w.layer.Load()
	return l != nil && l.nonblocking
}

// tlsState returns the state of TLS; nil if there is none.
func (w *rawConn) tlsState() *tlsState {
	if l := w.layer.Load(); l != nil {
		return l.secure.Load()
	}
	return nil
}

// extras are the fields that few connections need.
type extras struct {
	tracer atomic.Pointer[tracer]        // nil: not traced
	flows  atomic.Pointer[flows]         // nil: bytes per second were never limited
	proxy  atomic.Pointer[ProxyHeader]   // nil: there was none
	closed atomic.Pointer[chan struct{}] // closed when no Close or Abort is in progress; nil: nothing waits for that
}

// needExtras returns the extras. It may be called from any goroutine.
func (w *rawConn) needExtras() *extras {
	if w.extras.Load() == nil {
		w.extras.CompareAndSwap(nil, new(extras))
	}
	return w.extras.Load()
}

// limited returns the limits of bytes per second; nil if there never were any.
func (w *rawConn) limited() *flows {
	if x := w.extras.Load(); x != nil {
		return x.flows.Load()
	}
	return nil
}

// traced returns the tracer; nil if there is none.
func (w *rawConn) traced() *tracer {
	if x := w.extras.Load(); x != nil {
		return x.tracer.Load()
	}
	return nil
}

// header returns the PROXY header; nil if there is none.
func (w *rawConn) header() *ProxyHeader {
	if x := w.extras.Load(); x != nil {
		return x.proxy.Load()
	}
	return nil
}
