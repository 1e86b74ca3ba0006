package transport

import (
	"net"
	"sync"
	"sync/atomic"
)

// layer is what a connection needs for TLS, or another layer above its socket. Plain connections have
// none.
type layer struct {
	top     net.Conn               // carries the payload; nil: the raw connection does, so far
	secure  atomic.Pointer[secure] // nil: no TLS
	records sync.Mutex             // held during a write through TLS, which must not overlap TryWrite
	ahead   *ahead                 // payload received through TLS that Peek has read; see rawConn.ahead for plain payload
	wire    *tlsWire               // nil: bytes between TLS and the socket are not counted
	kept    []byte                 // the rest of a record
	trying  atomic.Bool            // TryWrite writes a record: the bytes that the socket does not take are kept
	notNow  bool                   // Read returns errNotNow instead of waiting; used by the goroutine that reads
}

// over returns what carries the payload above the raw connection; nil: the raw connection does.
func (c *Conn) over() net.Conn {
	if l := c.raw.layer.Load(); l != nil {
		return l.top
	}
	return nil
}

// carrier returns what carries the payload.
func (c *Conn) carrier() net.Conn {
	if over := c.over(); over != nil {
		return over
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

// wire returns how the bytes between TLS and the socket are counted; nil: they are not.
func (w *rawConn) wire() *tlsWire {
	if l := w.layer.Load(); l != nil {
		return l.wire
	}
	return nil
}

// refuses reports whether a read must not wait.
func (w *rawConn) refuses() bool {
	l := w.layer.Load()
	return l != nil && l.notNow
}

// secured returns the state of TLS; nil if there is none.
func (w *rawConn) secured() *secure {
	if l := w.layer.Load(); l != nil {
		return l.secure.Load()
	}
	return nil
}

// extras are what few connections have.
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
